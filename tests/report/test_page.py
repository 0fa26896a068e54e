import html.parser
import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from keras_bt.config.named import recipes
from keras_bt.report import write_page

VOID = {"meta", "link", "img", "br"}


class Page(html.parser.HTMLParser):
    """What is on a page: its text, tags, figures; and whether all that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.images = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def page_of(*folders, out):
    write_page(folders, out)
    text = out.read_text("utf-8")
    assert len(text) < 5e6
    return Page(text), text


@pytest.fixture
def out(tmp_path):
    return tmp_path / "report.html"


def test_the_answer_comes_first_and_the_numbers_are_the_results(run_folder, out):
    folder = run_folder()
    page, text = page_of(folder, out=out)
    words = page.words
    result = json.loads((folder / "result.json").read_text())
    for figures in (result["trained"], result["untrained"], result["pixels"]):
        for value in figures.values():
            assert f"{100 * value:.1f} %" in words
    assert words.index("75.0 % of the held-out images by k-NN") < words.index("What went in")
    assert "40 images of digits for 6 epochs, 1.6 minutes" in words
    assert "python examples/pretrain.py --recipe=digits '--image_dir=my photos'" in words
    for heading in (
        "What went in",
        "How it learned",
        "The cross-correlation matrix on its way to the identity",
        "Health of the embedding",
        "What it sees as alike",
        "Data, versions and machine",
        "Settings",
    ):
        assert heading in words
    assert "images skipped as unreadable 2" in words and "version of keras 3.15.1" in words
    assert text.count("<svg") == 11
    assert f"floor {result['loss_floor']:g}, untrained 30.5" in words


def test_it_needs_nothing_else(run_folder, out):
    page, text = page_of(run_folder(), out=out)
    assert "script" not in page.tags
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.findall(r"(?:src|href|url\()\W*https?:", outside)


def test_names_with_markup_are_text(run_folder, out):
    names = ("<script>hi()</script>", "$x^2$ & co")
    folder = run_folder(
        class_names=names,
        file_names=[f"<script>{number}</script>.png" for number in range(40)],
        settings={"image_dir": "<script>alert(2)</script>"},
    )
    page, text = page_of(folder, out=out)
    assert "script" not in page.tags
    assert names[0] in page.words and "$x^2$ & co" in page.words
    assert "<script>" not in text
    titles = [image.get("title", "") for image in page.images]
    assert any("image, <script>0</script>.png, <script>hi()" in title for title in titles)


def test_a_run_that_is_training_says_how_far_it_is(run_folder, out):
    page, _ = page_of(run_folder(finished=False), out=out)
    assert "is trained on 40 images of digits: 6 of 6 epochs were done at" in page.words
    assert "Reload" in page.words and "images skipped as unreadable 2" in page.words
    assert "What it sees as alike" not in page.words


def test_a_run_that_has_just_begun(run_folder, out):
    folder = run_folder(finished=False)
    for file in (*folder.glob("snapshots/*[1-9].npz"), folder / "metrics.jsonl"):
        file.unlink()
    page, _ = page_of(folder, out=out)
    assert "0 of 6 epochs were done" in page.words


def test_without_labels_it_shows_neighbours(run_folder, out):
    page, _ = page_of(run_folder(class_names=None), out=out)
    assert "There are no labels to measure it by" in page.words
    assert "What it sees as alike" in page.words and "linear probe takes" not in page.words


@pytest.mark.parametrize("images", [1, 2, 3])
def test_with_hardly_an_image(run_folder, out, images):
    page_of(run_folder(images=images, class_names=None), out=out)


def test_with_many_dimensions_and_images(run_folder, out):
    page, _ = page_of(run_folder(dim=8192, images=1000, epochs=300), out=out)
    assert "C of 48 evenly spaced ones of 8,192 dimensions" in page.words


def test_with_many_classes(run_folder, out):
    page_of(run_folder(images=1000, class_names=[f"class {n}" for n in range(1000)]), out=out)


def test_findings_are_told(run_folder, out):
    folder = run_folder()
    result = json.loads((folder / "result.json").read_text())
    result["health"]["findings"] = ["dimensional collapse: all the same."]
    (folder / "result.json").write_text(json.dumps(result))
    page, _ = page_of(folder, out=out)
    assert "dimensional collapse: all the same." in page.words


def test_an_encoder_no_better_than_pixels_is_said_to_be(run_folder, out):
    folder = run_folder()
    result = json.loads((folder / "result.json").read_text())
    result["pixels"]["knn_accuracy"] = 0.9
    (folder / "result.json").write_text(json.dumps(result))
    assert "Raw pixels do as well" in page_of(folder, out=out)[0].words
    result["untrained"]["knn_accuracy"] = 0.75
    (folder / "result.json").write_text(json.dumps(result))
    assert "An untrained network does as well" in page_of(folder, out=out)[0].words


def test_inline_figures_share_no_ids(run_folder, out):
    _, text = page_of(run_folder(), out=out)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_several_runs_side_by_side(run_folder, out):
    one, other = run_folder("a"), run_folder("b", settings={"width": 99, "learning_rate": 0.5})
    page, text = page_of(one, other, out=out)
    assert "2 runs side by side" in page.words
    assert f"width {recipes['digits'].width} 99" in page.words
    assert "learning_rate" in page.words and "hue" not in page.words
    assert text.count("<svg") == 3


def test_a_folder_that_is_no_run_is_named(tmp_path, out):
    with pytest.raises(ValueError, match="holds no run of keras_bt: there is no run.json"):
        write_page([tmp_path], out)
    assert not out.exists()


@pytest.mark.slow
def test_the_command(run_folder, tmp_path):
    folder = run_folder()
    command = [sys.executable, "-m", "keras_bt.report"]
    done = subprocess.run([*command, folder], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"{folder}/report.html", done.stderr
    assert (folder / "report.html").exists()
    failed = subprocess.run([*command, tmp_path], capture_output=True, text=True, timeout=120)
    assert failed.returncode != 0 and "Traceback" not in failed.stderr
    assert "there is no run.json" in failed.stderr


def test_figures_follow_the_numbers(run_folder, out):
    """Another matrix gives another drawing."""
    folder = run_folder()
    first = page_of(folder, out=out)[1]
    file = folder / "snapshots" / "000006.npz"
    with np.load(file) as arrays:
        changed = {**arrays, "c": -arrays["c"]}
    np.savez(file, **changed)
    second = page_of(folder, out=out)[1]
    assert first != second
    np.savez(file, **{**changed, "c": -changed["c"]})
    assert page_of(folder, out=out)[1] == first


def test_a_map_by_umap_where_it_is_installed(run_folder, out, monkeypatch):
    class Broken:
        def __init__(self, **options):
            pass

        def fit_transform(self, representations):
            raise RuntimeError("no compiler")

    class Drawing(Broken):
        def fit_transform(self, representations):
            return representations[:, :2]

    folder = run_folder(images=60)
    for kind, expected in ((Drawing, True), (Broken, False)):
        monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=kind))
        page, _ = page_of(folder, out=out)
        assert ("UMAP of the representations of 60 images" in page.words) == expected
        assert "Principal axes of the representations" in page.words


def test_names_that_are_no_text(run_folder, out):
    names = [f"\udcff{number}.png" for number in range(40)]
    page, _ = page_of(run_folder(file_names=names, class_names=("\udcfe", "dog")), out=out)
    assert any("?0.png" in image.get("title", "") for image in page.images)


def test_a_redundancy_target_and_mixed_samples_are_told(run_folder, out):
    folder = run_folder(settings={"redundancy_target": -1.0})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    mixed = [json.dumps({**json.loads(line), "mixed": 2.5}) + "\n" for line in lines]
    (folder / "metrics.jsonl").write_text("".join(mixed))
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "loss_floor": None}))
    words = page_of(folder, out=out)[0].words
    assert "identity" not in words and "-1 is wanted off its diagonal" in words
    assert "cannot fall below" not in words and "and that of mixed samples" in words


def test_what_is_damaged_is_left_out_and_named(run_folder, out, caplog):
    folder = run_folder()
    (folder / "map.npz").write_bytes(b"PK")
    (folder / "snapshots" / "000003.npz").write_bytes(b"")
    (folder / "snapshots" / "0003_mask.npz").write_bytes(b"not ours")
    page, _ = page_of(folder, out=out)
    assert "What it sees as alike" not in page.words and "epoch 6" in page.words
    assert "map.npz is damaged" in caplog.text and "000003.npz is damaged" in caplog.text
    (folder / "result.json").write_text("{")
    with pytest.raises(ValueError, match="result.json is damaged"):
        write_page([folder], out)


@pytest.mark.slow
def test_a_comparison_replaces_no_file_unasked(run_folder, tmp_path):
    command = [sys.executable, "-m", "keras_bt.report", run_folder("a"), run_folder("b")]
    told = {"capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path}
    assert subprocess.run(command, **told).stdout.strip() == "comparison.html"
    (tmp_path / "comparison.html").write_text("precious")
    again = subprocess.run(command, **told)
    assert again.returncode != 0 and "comparison.html is there already" in again.stderr
    assert (tmp_path / "comparison.html").read_text() == "precious"
