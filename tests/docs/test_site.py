"""The site builds without warnings, and faults in pages are found."""

import os
import shutil
import subprocess
import sys

import pages
import pytest
import test_pages
from pages import ROOT


def build(docs, folder):
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", docs, folder / "site"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


@pytest.mark.slow
def test_the_site_builds_and_a_broken_link_is_found(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    (tmp_path / "keras_bt/_support").mkdir(parents=True)
    shutil.copy(ROOT / "keras_bt/_support/version.py", tmp_path / "keras_bt/_support")
    finished = build(docs, tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "site/tutorials/first_encoder.html").stat().st_size > 10_000
    for link in ("[x](nowhere.md)", "[x](results.md#nowhere)", "![x](nowhere.png)"):
        (docs / "index.md").write_text((ROOT / "docs/index.md").read_text("utf-8") + f"\n{link}\n")
        assert build(docs, tmp_path).returncode != 0, link


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("`--image_dirr=photos`", test_pages.test_named_flags_exist),
        ("[x](nowhere.md)", test_pages.test_links_resolve),
        ("[x](results.md#nowhere)", test_pages.test_links_resolve),
        ("`keras_bt.resnet19`", test_pages.test_python_names_exist),
        ("`make pretrian`", test_pages.test_make_targets_exist),
        ("```sh\nkeras-bt pretrain --epoch=3 --imagedir=x\n```", "commands"),
        ("`keras-bt pretrian`", "commands"),
        ("```\nplain\n```", test_pages.test_blocks_have_a_language),
    ],
)
def test_a_fault_in_a_page_is_found(fault, check, tmp_path, known_flags):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{fault}\n", "utf-8")
    if check == "commands":
        check = test_pages.test_commands_accept_their_flags
    arguments = (page, known_flags) if check is test_pages.test_named_flags_exist else (page,)
    with pytest.raises((AssertionError, AttributeError, ImportError)):
        check(*arguments)


known_flags = test_pages.known_flags


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", ["```python\nimport nothing_of_that_name\n```", "```sh\nkeras-bt report nowhere\n```"]
)
def test_a_failing_block_is_found(block, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{block}\n", "utf-8")
    finished = subprocess.run(
        [sys.executable, pages.__file__, page], capture_output=True, cwd=tmp_path
    )
    assert finished.returncode != 0


def test_comments_above_a_block_change_it_in_tests_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n<!-- tests add: --epochs=1 --width=2 -->\n<!-- tests replace: 60 by 1 -->\n"
        "```sh\nkeras-bt pretrain --minutes=60  # an hour\n```\n\n"
        "<!-- not run: a GPU -->\n```python\nfit()\n```\n",
        "utf-8",
    )
    first, second = pages.blocks_of(page)
    assert first.added == ("--epochs=1", "--width=2") and first.line == 5
    assert first.commands(first.tested) == [["keras-bt", "pretrain", "--minutes=1"]]
    assert (second.text, second.not_run, second.added) == ("fit()\n", "a GPU", ())
