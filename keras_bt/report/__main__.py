"""Writes the page of a run, or of several side by side.

python -m keras_bt.report runs/digits
python -m keras_bt.report runs/a runs/b --out=comparison.html
"""

import argparse
import sys
from pathlib import Path

from keras_bt.report.page import write_page


def main():
    """Writes what the command line names, and prints where."""
    parser = argparse.ArgumentParser(prog="python -m keras_bt.report", description=__doc__)
    parser.add_argument("workdir", nargs="+", help="folder of a run, finished or still training")
    parser.add_argument(
        "--out", help="file to write; report.html in the folder, comparison.html for several"
    )
    flags = parser.parse_args()
    one = Path(flags.workdir[0], "report.html") if len(flags.workdir) == 1 else None
    try:
        print(write_page(flags.workdir, flags.out or one or _new(Path("comparison.html"))))
    except (ValueError, OSError, KeyError) as error:
        sys.exit(f"keras_bt.report: {error}")


def _new(file):
    if file.exists():
        raise ValueError(f"{file} is there already; --out=FILE names another, or replaces it.")
    return file


if __name__ == "__main__":
    main()
