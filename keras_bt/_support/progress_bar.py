"""How progress is drawn, wherever it is."""

import sys


def progress_bar(**options):
    """A bar on stderr, redrawn each second on a terminal and each half minute in a log file.

    Args:
        **options: See `tqdm`.

    Example:
        >>> bar = progress_bar(total=3, disable=True)
        >>> bar.close()
    """
    from tqdm import tqdm

    seconds = 1.0 if sys.stderr.isatty() else 30.0  # a log file is not rewound
    return tqdm(mininterval=seconds, dynamic_ncols=True, **options)
