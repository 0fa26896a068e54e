import html.parser
import json
import re
import sys
import types

import numpy as np
import pytest

from keras_bt.config.named import recipes
from keras_bt.report import write_report
from keras_bt.report.run_files import read_run

VOID = {"meta", "link", "img", "br"}


class Page(html.parser.HTMLParser):
    """Parses a page: its text, tags and images. Fails if a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open_tags, self.text, self.tags, self.images = [], [], [], []
        self.feed(text)
        assert not self.open_tags, self.open_tags

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if self.open_tags and self.open_tags[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def page_of(*folders, out):
    write_report(folders, out)
    text = out.read_text("utf-8")
    assert len(text) < 5e6
    return Page(text), text


@pytest.fixture
def out(tmp_path):
    return tmp_path / "report.html"


def edit(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_verdict_comes_first(run_folder, out):
    folder = run_folder()
    edit(folder / "result.json", verdict="NOT better than raw pixels by k-NN.")
    words = page_of(folder, out=out)[0].words
    assert words.index("NOT better than raw pixels by k-NN.") < words.index("40 images of digits")


def test_epochs_of_a_budget_are_passes_over_the_images(run_folder, out):
    for finished in (True, False):
        folder = run_folder(f"run {finished}", images=1000, finished=finished)
        edit(folder / "plan.json", seconds=60.0, steps_per_epoch=2)  # batches of 128
        words = page_of(folder, out=out)[0].words
        assert "epoch 1.54" in words and "epoch 6" not in words
    assert "1.54 of 1.5 epochs were complete" in words


def test_report_begins_with_the_accuracies_of_the_result(run_folder, out):
    folder = run_folder()
    page, text = page_of(folder, out=out)
    words = page.words
    result = json.loads((folder / "result.json").read_text())
    for accuracies in (result["trained"], result["untrained"], result["pixels"]):
        for value in accuracies.values():
            assert f"{100 * value:.1f} %" in words
    assert words.index("75.0 % of the held-out images correctly") < words.index("Images and their")
    assert "40 images of digits for 6 epochs (1.6 minutes)" in words
    assert "keras-bt pretrain --recipe=digits '--image_dir=my photos'" in words
    for heading in (
        "Images and their views",
        "Training curves",
        "Cross-correlation matrix C",
        "Health of the embedding",
        "Similar images",
        "Data, versions and machine",
        "Settings",
    ):
        assert heading in words
    assert "unreadable images skipped 2" in words and "keras version 3.15.1" in words
    assert text.count("<svg") == 11
    assert f"floor {result['loss_floor']:g}, untrained 30.5" in words


@pytest.mark.slow
def test_report_needs_no_script_and_no_network(run_folder, out):
    page, text = page_of(run_folder(), out=out)
    assert "script" not in page.tags
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.findall(r"(?:src|href|url\()\W*https?:", outside)


@pytest.mark.slow
def test_names_with_markup_are_escaped(run_folder, out):
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


@pytest.mark.slow
def test_report_during_training_shows_the_progress(run_folder, out):
    page, _ = page_of(run_folder(finished=False), out=out)
    assert "is being trained on 40 images of digits: 6 of 6 epochs were complete at" in page.words
    assert "Reload" in page.words and "unreadable images skipped 2" in page.words
    assert "Similar images" not in page.words


@pytest.mark.slow
def test_report_before_the_first_epoch_shows_no_progress(run_folder, out):
    folder = run_folder(finished=False)
    for file in (*folder.glob("snapshots/*[1-9].npz"), folder / "metrics.jsonl"):
        file.unlink()
    page, _ = page_of(folder, out=out)
    assert "0 of 6 epochs were complete" in page.words


@pytest.mark.slow
def test_report_without_labels_has_nearest_neighbors(run_folder, out):
    page, _ = page_of(run_folder(class_names=None), out=out)
    assert "The images have no labels, so there is no accuracy" in page.words
    assert "Similar images" in page.words and "Confusion matrix" not in page.words


@pytest.mark.slow
@pytest.mark.parametrize("images", [1, 2, 3])
def test_report_works_with_very_few_images(run_folder, out, images):
    page_of(run_folder(images=images, class_names=None), out=out)


@pytest.mark.slow
def test_report_selects_from_many_dimensions(run_folder, out):
    page, _ = page_of(run_folder(dim=8192, images=1000, epochs=300), out=out)
    assert "for 48 evenly spaced dimensions of 8,192" in page.words


@pytest.mark.slow
def test_report_works_with_many_classes(run_folder, out):
    page_of(run_folder(images=1000, class_names=[f"class {n}" for n in range(1000)]), out=out)


@pytest.mark.slow
def test_report_shows_findings(run_folder, out):
    folder = run_folder()
    result = json.loads((folder / "result.json").read_text())
    result["health"]["findings"] = ["dimensional collapse: all the same."]
    (folder / "result.json").write_text(json.dumps(result))
    page, _ = page_of(folder, out=out)
    assert "dimensional collapse: all the same." in page.words


@pytest.mark.slow
def test_ids_of_inline_figures_are_unique(run_folder, out):
    _, text = page_of(run_folder(), out=out)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_comparison_shows_scores_curves_and_different_settings(run_folder, out):
    one, other = run_folder("a"), run_folder("b", settings={"width": 99, "learning_rate": 0.5})
    page, text = page_of(one, other, out=out)
    assert "Comparison of 2 runs" in page.words
    assert f"width {recipes['digits'].width} 99" in page.words
    assert "learning_rate" in page.words and "hue" not in page.words
    assert text.count("<svg") == 3


def test_rejects_a_folder_without_a_run(tmp_path, out):
    with pytest.raises(ValueError, match="holds no run of keras_bt: run.json is missing"):
        write_report([tmp_path], out)
    assert not out.exists()


@pytest.mark.slow
def test_one_run_is_written_to_its_folder(run_folder):
    folder = run_folder()
    assert write_report([folder]) == folder / "report.html"
    assert "Training curves" in (folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_comparison_does_not_replace_a_file_by_default(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [run_folder("a"), run_folder("b")]
    file = write_report(folders)
    assert str(file) == "comparison.html" and "Comparison of 2 runs" in file.read_text("utf-8")
    file.write_text("precious")
    with pytest.raises(ValueError, match="comparison.html exists already; give --out"):
        write_report(folders)
    assert file.read_text() == "precious"
    assert write_report(folders, file) == file
    assert "Comparison of 2 runs" in file.read_text("utf-8")


def test_rejects_a_run_without_a_needed_setting(run_folder, out):
    folder = run_folder()
    (folder / "run.json").write_text('{"command": "keras-bt pretrain", "settings": {}}')
    with pytest.raises(ValueError, match="field 'redundancy_weight' is missing .*/run"):
        write_report([folder], out)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ("keras-bt pretrain --width=8", "keras-bt pretrain --width=8"),
        ("my_script.py --width=8", "python my_script.py --width=8"),
        ("'my scripts/train.py' --width=8", "python 'my scripts/train.py' --width=8"),
    ],
)
def test_command_of_a_script_begins_with_python(run_folder, argv, command):
    folder = run_folder()
    start = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**start, "command": argv}))
    assert read_run(folder).command == command


@pytest.mark.slow
def test_heat_maps_show_the_saved_matrix(run_folder, out):
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


@pytest.mark.slow
def test_map_uses_umap_if_it_is_installed_and_works(run_folder, out, monkeypatch):
    class FailingUmap:
        def __init__(self, **options):
            pass

        def fit_transform(self, representations):
            raise RuntimeError("no compiler")

    class WorkingUmap(FailingUmap):
        def fit_transform(self, representations):
            return representations[:, :2]

    folder = run_folder(images=60)
    for kind, expected in ((WorkingUmap, True), (FailingUmap, False)):
        monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=kind))
        page, _ = page_of(folder, out=out)
        assert ("UMAP of the representations of 60 images" in page.words) == expected
        assert "Principal axes of the representations" in page.words


@pytest.mark.slow
def test_file_names_that_are_not_utf8_are_shown(run_folder, out):
    names = [f"\udcff{number}.png" for number in range(40)]
    page, _ = page_of(run_folder(file_names=names, class_names=("\udcfe", "dog")), out=out)
    assert any("?0.png" in image.get("title", "") for image in page.images)


@pytest.mark.slow
def test_report_mentions_redundancy_target_and_mixed_samples(run_folder, out):
    folder = run_folder(settings={"redundancy_target": -1.0})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    mixed = [json.dumps({**json.loads(line), "mixed": 2.5}) + "\n" for line in lines]
    (folder / "metrics.jsonl").write_text("".join(mixed))
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "loss_floor": None}))
    words = page_of(folder, out=out)[0].words
    assert "aims at -1 instead of 0 off the diagonal" in words
    assert "cannot fall below" not in words and "loss of mixed samples" in words


@pytest.mark.slow
def test_damaged_arrays_are_logged_and_damaged_json_is_rejected(run_folder, out, caplog):
    folder = run_folder()
    (folder / "map.npz").write_bytes(b"PK")
    (folder / "snapshots" / "000003.npz").write_bytes(b"")
    (folder / "snapshots" / "0003_mask.npz").write_bytes(b"not ours")
    page, _ = page_of(folder, out=out)
    assert "Similar images" not in page.words and "epoch 6" in page.words
    assert "map.npz is damaged" in caplog.text and "000003.npz is damaged" in caplog.text
    (folder / "result.json").write_text("{")
    with pytest.raises(ValueError, match="result.json is damaged"):
        write_report([folder], out)
