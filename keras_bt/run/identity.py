"""Checks that a run continues with the settings and the images it began with.

This comes first, from run.json. `training.checkpoint` checks again what it restores, because a
training in Python has no run.json.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bt._support.settings import differences

# Settings that say where images are. Another place with the same images is the same.
PLACES = ("image_dir", "tfrecords", "tars", "data_dir")
# Settings that runs begun before there were such fields have.
VALUES_OF_OLD_RUNS = {"redundancy": "squares", "framing": "square"}


def resolved(place: str | None) -> str | None:
    """A path without links and relative parts, so that each place has one name.

    Args:
        place: Path or glob of files, or an address such as gs://bucket/folder; None for none.

    Example:
        >>> resolved("photos/") == resolved("./photos"), resolved("gs://bucket/a/")
        (True, 'gs://bucket/a/')
    """
    if place is None or "://" in place:
        return place
    return os.path.realpath(Path(place).expanduser())


def has_moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two settings name different places of images.

    Args:
        before: Settings of the run.
        now: Settings of this start.

    Example:
        >>> has_moved({"image_dir": "/a", "seed": 1}, {"image_dir": "/a", "seed": 2})
        False
    """
    return _places(before) != _places(now)


def check_same_run(file: Path, now: Mapping[str, Any], images: str | None) -> dict[str, Any]:
    """Rejects a start with other settings or images than those in run.json.

    At another place the images must be the same. At the same place some may have been added,
    removed or changed, which is a warning.

    Args:
        file: The run.json.
        now: Settings of this start.
        images: `Source.digest` of its images; None before they are opened.

    Returns:
        The settings in run.json, which are those of the run's checkpoints.

    Raises:
        ValueError: If settings or images differ, or the file is no run.json.
    """
    before, images_before = _read(file)
    added = {name: value for name, value in VALUES_OF_OLD_RUNS.items() if name in now}
    place_before, place_now = _places(before), _places(now)
    if differing := differences({**added, **before, **place_before}, {**now, **place_before}):
        raise ValueError(
            f"{file} has other settings ({'; '.join(differing)}); use another workdir or the "
            "same flags."
        )
    if images is not None and images != images_before:
        if has_moved(before, now):
            moved = "; ".join(differences(place_before, place_now))
            raise ValueError(
                f"{file} belongs to a run on other images ({moved}); use another workdir or the "
                "same images."
            )
        message = "The images have changed since the run in %s began; it continues with these."
        logging.getLogger("keras_bt").warning(message, file.parent)
    return before


def settings_at_start(workdir: str | Path) -> dict[str, Any] | None:
    """The settings at the first start of a run; None before that.

    Args:
        workdir: The folder of the run.

    Raises:
        ValueError: If its run.json is not one of keras_bt.

    Example:
        >>> settings_at_start("no/such/folder") is None
        True
    """
    file = Path(workdir).expanduser() / "run.json"
    return VALUES_OF_OLD_RUNS | _read(file)[0] if file.exists() else None


def _read(file: Path) -> tuple[dict[str, Any], str | None]:
    """The settings and the digest of the images in a run.json."""
    try:
        run = json.loads(file.read_text("utf-8"))
        return dict(run["settings"]), run.get("images")
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not a run.json of keras_bt; use another workdir.") from error


def _places(settings: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: settings.get(name) for name in PLACES}
