"""Reads the blocks of Markdown pages, and runs them.

    python pages.py PAGE.md

runs the blocks of a page in order, in this folder and process. Comments above a block say what
differs from what a reader does:

    <!-- tests add: --epochs=1 -->                 flags for its commands in `TRAINING`
    <!-- tests replace: epochs=60 by epochs=1 -->  another text
    <!-- not run: it needs a cluster -->           checked, but not run
"""

import dataclasses
import re
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
LANGUAGES = ("sh", "python", "text", "pycon", "json", "yaml", "{toctree}", "bibtex", "csharp")

TRAINING = ("pretrain", "launch", "finetune", "views")

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^ *```$", re.M | re.S)
COMMENTS = re.compile(r"((?:^ *<!-- (?:tests add|tests replace|not run): .* -->\n)+)\n?\Z", re.M)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: The word after the fence.
        line: Its line in the page, from 1.
        text: As readers see it.
        added: Flags that a test adds to its commands.
        replaced: Pairs of texts, of readers and of a test.
        not_run: Why a test does not run it; None if it does.
    """

    language: str
    line: int
    text: str
    added: tuple[str, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()
    not_run: str | None = None

    @property
    def runs(self):
        """Whether a test runs it."""
        return self.language in ("sh", "python") and not self.not_run

    @property
    def tested(self):
        """The text that a test runs."""
        text = self.text
        for old, new in self.replaced:
            assert old in text, f"line {self.line}: there is no {old!r} to replace"
            text = text.replace(old, new)
        return text

    def commands(self, text=None):
        """Returns the lines of a shell block as lists of words, without their comments."""
        if self.language != "sh":
            return []
        lines = (self.text if text is None else text).splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks_of(page):
    """Returns the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        comments = COMMENTS.search(text[: match.start()])
        comments = re.findall(r"<!-- ([\w ]+): (.*) -->", comments[1]) if comments else []
        of = {kind: [value for each, value in comments if each == kind] for kind, _ in comments}
        indent = len(match["indent"])
        found.append(
            Block(
                language=match["language"],
                line=text[: match.start()].count("\n") + 1,
                text="".join(line[indent:] for line in match["text"].splitlines(keepends=True)),
                added=tuple(flag for flags in of.get("tests add", []) for flag in flags.split()),
                replaced=tuple(
                    tuple(each.split(" by ", 1)) for each in of.get("tests replace", [])
                ),
                not_run="; ".join(of["not run"]) if "not run" in of else None,
            )
        )
    return found


def run(page):
    """Runs the blocks of a page."""
    import __main__
    from keras_bt.cli.main import find_command, main

    for block in blocks_of(page):
        if not block.runs:
            continue
        print(f"{time.process_time():.0f} s: line {block.line}", file=sys.stderr, flush=True)
        if block.language == "python":
            code = compile(block.tested, f"{page}, line {block.line}", "exec")
            exec(code, vars(__main__))
        for program, name, *arguments in block.commands(block.tested):
            assert program == "keras-bt", f"{program} is not run; say why in a comment"
            added = list(block.added) if name in TRAINING else []
            if name != "launch":
                titles = find_command(name).flags_by_title()
                known = {flag.name for flags in titles.values() for flag in flags}
                added = [flag for flag in added if flag[2:].split("=")[0] in known]
            status = main([name, *arguments, *added])
            assert status == 0, f"line {block.line}: {name} ended with status {status}"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
