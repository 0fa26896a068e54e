"""Blocks of README and docs run, and what pages name exists."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from pages import LANGUAGES, PAGES, ROOT, blocks_of

import keras_bt
from keras_bt.cli.ledger_flag import define_ledger_flag
from keras_bt.cli.main import COMMANDS, find_command, main
from keras_bt.cli.recipe_flags import define_recipe_flags

SLURM_FLAGS = {"ntasks", "gpus-per-task", "cpus-per-task", "nodes"}
OF_PROGRAMS = {"pip", "docker", "git", "curl", "kubectl", "sbatch"}  # the flags are theirs
SECONDS = 900
RUN = [page for page in PAGES if any(block.runs for block in blocks_of(page))]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def without_blocks(page):
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture(scope="session")
def readers_folder(tmp_path_factory):
    """What the reader of a page has: photos, TFRecords, PyTorch weights, a run of digits."""
    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    for index in range(60):
        kind = ("cat", "dog")[index % 2]
        pixels = rng.normal(90 + 70 * (index % 2), 30, (40, 48, 3)).clip(0, 255).astype("uint8")
        file = tf.io.encode_jpeg(pixels).numpy()
        for path in (f"photos/{kind}/{kind}_{index}.jpg", f"unlabelled/{index:03}.jpg"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file)
    (folder / "shards").mkdir()
    for part in range(2):
        with tf.io.TFRecordWriter(f"{folder}/shards/part-{part}.tfrecord") as writer:
            for index in range(part, 60, 2):
                image = (folder / f"unlabelled/{index:03}.jpg").read_bytes()
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[index % 3])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    shutil.copy(ROOT / "tests/golden/resnet18_width2.pth", folder / "resnet18.pth")
    tiny = ["--encoder=conv4", "--width=2", "--projector_dims=16,8", "--epochs=1"]
    assert main(["pretrain", "--recipe=digits", f"--workdir={folder}/runs/digits", *tiny]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_blocks_run(page, readers_folder, tmp_path):
    folder = tmp_path / "reader"
    shutil.copytree(readers_folder, folder)
    program = Path(__file__).with_name("pages.py")
    finished = subprocess.run(
        [sys.executable, program, page],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_language(page):
    for block in blocks_of(page):
        assert block.language in LANGUAGES, (block.line, block.language)
        assert block.tested is not None  # replacements apply


def commands_of(page):
    """Returns (command, arguments) for each use of `keras-bt COMMAND` in a page."""
    found = []
    of_blocks = [words for block in blocks_of(page) for words in block.commands()]
    inline = re.findall(r"`(keras-bt [a-z][^`]*)`", without_blocks(page))
    for words in [*of_blocks, *(text.split() for text in inline)]:
        if "keras-bt" not in words[:-1] or words[0] in ("git", "cd"):
            continue
        name, *arguments = words[words.index("keras-bt") + 1 :]
        arguments = [each for each in arguments if each not in ("…", "...", "&")]
        if name == "launch" and "--" in arguments:
            after = arguments.index("--") + 1
            rest = arguments[after:]
            arguments = arguments[: after - 1]
            if rest and rest[0] in COMMANDS:
                found.append((rest[0], rest[1:]))
        found.append((name, arguments))
    return found


def flags_of(command):
    return find_command(command)._new_flags()


def problem_with(values, arguments):
    """Returns why flags refuse arguments, or None. A flag without a value may be any flag."""
    alone = [each[2:] for each in arguments if each.startswith("--") and "=" not in each]
    unknown = [name for name in alone if name not in values]
    try:
        values(["program", *(each for each in arguments if each[2:] not in alone)])
    except flags.Error as error:
        return str(error)
    return f"unknown flags {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_accept_their_flags(page):
    for name, arguments in commands_of(page):
        if name == "COMMAND" or (name.startswith("--") and name in ("--help", "--version")):
            continue
        assert name in COMMANDS, (name, arguments)
        assert problem_with(flags_of(name), arguments) is None, (name, arguments)


def test_every_command_is_shown():
    shown = {
        name for page in PAGES if page.parent.name != "reference" for name, _ in commands_of(page)
    }
    assert set(COMMANDS) <= shown


def flags_of_ablate():
    values = flags.FlagValues()
    define_recipe_flags(values)
    define_ledger_flag(values)
    script = (ROOT / "benchmarks/ablate.py").read_text(encoding="utf-8")
    for name in re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", script):
        flags.DEFINE_string(name, None, "", flag_values=values)
    return values


@pytest.fixture(scope="module")
def known_flags():
    of_commands = {name for command in COMMANDS for name in flags_of(command)}
    scripts = " ".join(path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    of_scripts = re.findall(r"add_argument\(\s*\"--(\w+)\"", scripts)
    return of_commands | SLURM_FLAGS | set(flags_of_ablate()) | set(of_scripts)


OF_SOURCES = {"api.md", "recipes.md"}  # they also name flags of the official code


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in OF_SOURCES], ids=name_of
)
def test_named_flags_exist(page, known_flags):
    words = without_blocks(page)
    for block in blocks_of(page):
        words += "".join(
            line + "\n"
            for line in block.text.splitlines()
            if block.language == "sh" and not OF_PROGRAMS & set(line.split())
        )
    named = re.findall(r"(?<![\w-])--(?:\[no\])?(\w[\w-]*)", words)
    assert set(named) - known_flags - {"name", "flag"} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![./\w])keras_bt((?:\.[A-Za-z_]\w*)+)", text):
        found = keras_bt
        for part in name[1:].split("."):
            if isinstance(found, type(keras_bt)) and not hasattr(found, part):
                __import__(f"{found.__name__}.{part}")
            assert hasattr(found, part), name
            found = getattr(found, part)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    text = without_blocks(page)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        on_main = link.removeprefix("https://github.com/keras-bt/keras-bt/blob/main/")
        if link.startswith(("http:", "https:", "mailto:")) and on_main == link:
            continue
        file, _, anchor = on_main.partition("#")
        base = ROOT if on_main != link else page.parent
        target = (base / file).resolve() if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), link
    named = re.findall(r"(?<![\w/])(?:examples|benchmarks)/\w+\.py\b", text)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def anchors_of(page):
    """Returns the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.M)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", each)) for each in headings]
    return {each.strip().lower().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.M)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


def test_all_recipes_are_named():
    text = (ROOT / "docs/how_to/settings.md").read_text(encoding="utf-8")
    assert [name for name in keras_bt.recipes if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_english_is_plain(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"\b(?:tells|told|anew|meets)\b", text, re.IGNORECASE)


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(re.sub(r"<!--.*?-->|\]\([^)]*\)", "", text, flags=re.S).split()) <= 900
