"""Checkpoints that are written atomically, and verified when they are read."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.literal_paths import check_utf8, literal
from keras_bt._support.settings import differences

SETTINGS = "settings/.ATTRIBUTES/VARIABLE_VALUE"  # TensorFlow's name of the variable in the file

log = logging.getLogger("keras_bt")


class CheckpointError(ValueError):
    """A checkpoint from which training cannot continue."""


class Checkpoints:
    """The newest checkpoints of some variables, each in a folder named by its step.

        ckpt-40/  ckpt-80/  ckpt-120/  damaged/

    A folder appears when it is complete. TensorFlow stores checksums of every tensor and of
    their table. `restore` verifies all of them before it changes a variable.

    Args:
        folder: Folder of the checkpoints.
        variables: Variables by name.
        settings: Settings that must not change when training continues; JSON can hold them.
        keep: Number of checkpoints to keep, at least 1.
        writes: If False, no file changes and `save` does nothing. For workers other than the
            chief.

    Raises:
        ValueError: If `keep` is less than 1, or the path of the folder is not UTF-8.

    Example:
        >>> import tempfile
        >>> weight = tf.Variable(3.0)
        >>> checkpoints = Checkpoints(tempfile.mkdtemp(), {"weight": weight})
        >>> checkpoints.save(7)
        >>> _ = weight.assign(0.0)
        >>> checkpoints.restore(), float(weight)
        (7, 3.0)
    """

    def __init__(
        self,
        folder: Path | str,
        variables: Mapping[str, tf.Variable],
        settings: Mapping[str, Any] | None = None,
        keep: int = 3,
        writes: bool = True,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.folder = Path(folder)
        check_utf8(self.folder)
        self.settings = json.loads(json.dumps(settings or {}))  # tuples become lists, as on disk
        self.keep = keep
        self.writes = writes
        self._bytes = sum(v.dtype.size * v.shape.num_elements() for v in variables.values())
        self._state = tf.train.Checkpoint(
            settings=tf.Variable(json.dumps(self.settings)), variables=dict(variables)
        )

    def save(self, step: int) -> None:
        """Writes a checkpoint and removes the oldest ones.

        Args:
            step: The current step. An existing checkpoint of this step is kept.

        Raises:
            OSError: If writing fails. The message names the space needed. Older checkpoints
                are unchanged.
        """
        if not self.writes:
            return
        atomic.clean_up(self.folder)
        if step not in self.steps():
            with atomic.replacing(self._path(step), self._bytes) as temporary:
                self._state.write(str(temporary / "state"))
        for old in self.steps()[: -self.keep]:
            atomic.remove(self._path(old))

    def restore(self) -> int | None:
        """Restores the variables from the newest undamaged checkpoint.

        Newer, damaged ones are moved to the folder `damaged`.

        Returns:
            The step of the checkpoint, or None if there is no checkpoint.

        Raises:
            CheckpointError: If the checkpoint has another model or other settings, or if all
                checkpoints are damaged.
            OSError: If a file cannot be opened.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                settings = _verified_settings(self._path(step))
            except (tf.errors.OpError, LookupError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                log.warning("%s is damaged: %s", self._path(step), reason)
                damaged.append(step)
            else:
                self._refuse_other_settings(step, settings)
                self._read(step)
                if self.writes:
                    self._move_damaged(damaged)
                return step
        if damaged:
            raise CheckpointError(
                f"All checkpoints in {self.folder} are damaged; use another folder to start from "
                "the beginning."
            )
        return None

    def steps(self) -> list[int]:
        """The steps of all checkpoints, ascending; some may be damaged."""
        names = [path.name.removeprefix("ckpt-") for path in self.folder.glob("ckpt-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"ckpt-{step}"

    def _move_damaged(self, steps: list[int]) -> None:
        """Moves checkpoints to the folder `damaged`."""
        for path in map(self._path, steps):
            target = self.folder / "damaged" / path.name
            target.parent.mkdir(exist_ok=True)
            atomic.remove(target)
            path.replace(target)

    def _refuse_other_settings(self, step: int, settings: Mapping[str, Any]) -> None:
        """Raises an error with the settings that differ."""
        if differing := differences(settings, self.settings):
            raise CheckpointError(
                f"{self._path(step)} has other settings ({'; '.join(differing)}); use the same "
                "settings or another folder."
            )

    def _read(self, step: int) -> None:
        """Assigns the values of a verified checkpoint."""
        try:
            with literal(self._path(step)) as path:
                self._state.read(str(path / "state")).assert_consumed()
        except (AssertionError, ValueError) as error:
            raise CheckpointError(
                f"{self._path(step)} belongs to another model: {error}"
            ) from error


def _verified_settings(path: Path) -> dict[str, Any]:
    """Reads a whole checkpoint, so that TensorFlow verifies it, and returns its settings."""
    for file in path.iterdir():
        file.open("rb").close()  # raises OSError: a file that cannot be opened is not damaged
    with literal(path) as readable:
        reader = tf.train.load_checkpoint(str(readable / "state"))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
        return json.loads(reader.get_tensor(SETTINGS))
