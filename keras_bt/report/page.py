"""Writes the page of a run, or of several side by side: one HTML file that needs nothing else."""

import importlib.resources
from pathlib import Path

from keras_bt._support import atomic
from keras_bt.report.comparison import comparison
from keras_bt.report.run_files import read_run
from keras_bt.report.sections import run_content


def write_page(workdirs, out):
    """Writes a page of runs, finished or still training.

    Args:
        workdirs: Paths of their folders; of several the page compares them.
        out: Path of the HTML file.

    Returns:
        The path, a string.

    Raises:
        ValueError: If a folder is not that of a run.
        OSError: If it cannot be written.
    """
    import jinja2

    runs = [read_run(workdir) for workdir in workdirs]
    content = run_content(runs[0]) if len(runs) == 1 else comparison(runs)
    source = importlib.resources.files("keras_bt.report").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(source).render(page=content)
    # Names of files may hold bytes that are no text.
    atomic.write_text(Path(out), text.encode("utf-8", "replace").decode())
    return str(out)
