"""Writes the report of a run, or the comparison of several, as one HTML file."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from keras_bt._support import atomic
from keras_bt.report.comparison import comparison_page
from keras_bt.report.run_files import read_run
from keras_bt.report.sections import run_page


def write_report(workdirs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes the report of one run, or the comparison of several, as one HTML file.

    The file contains all styles and images. It needs no network and no script.

    Args:
        workdirs: Folders of runs, finished or still training.
        out: The file to write. None means `report.html` in the folder of a single run, and
            `comparison.html` in the current folder for several runs.

    Returns:
        The path of the file.

    Raises:
        ValueError: If a folder holds no run or a damaged one, or if `out` is None and
            `comparison.html` exists.
        OSError: If the file cannot be written.

    Example:
        >>> write_report([])
        Traceback (most recent call last):
            ...
        ValueError: A report needs the folder of at least one run.
    """
    import jinja2

    if not workdirs:
        raise ValueError("A report needs the folder of at least one run.")
    out = _default_file(workdirs) if out is None else Path(out).expanduser()
    runs = [read_run(workdir) for workdir in workdirs]
    try:
        page = run_page(runs[0]) if len(runs) == 1 else comparison_page(runs)
    except KeyError as error:
        names = ", ".join(map(str, workdirs))
        raise ValueError(f"The field {error} is missing in the files of {names}.") from error
    source = importlib.resources.files("keras_bt.report").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(source).render(page=page)
    # File names may have bytes that are not UTF-8.
    atomic.write_text(out, text.encode("utf-8", "replace").decode())
    return out


def _default_file(workdirs: Sequence[str | Path]) -> Path:
    if len(workdirs) == 1:
        return Path(workdirs[0]).expanduser() / "report.html"
    file = Path("comparison.html")
    if file.exists():
        raise ValueError(f"{file} exists already; give --out=FILE to choose a file or replace it.")
    return file
