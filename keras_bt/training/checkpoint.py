"""The checkpoints of a training: each whole or absent, a damaged one set aside."""

import json
import logging
from pathlib import Path

import tensorflow as tf

from keras_bt._support import atomic
from keras_bt._support.settings import differences

SETTINGS = "settings/.ATTRIBUTES/VARIABLE_VALUE"  # TensorFlow's name for it in the file

log = logging.getLogger("keras_bt")


class CheckpointError(ValueError):
    """A checkpoint that a training cannot go on from."""


class Checkpoints:
    """The newest few states of some variables, a folder each, named by the step.

        ckpt-40/  ckpt-80/  ckpt-120/  damaged/

    A folder appears when all in it is written. TensorFlow keeps checksums of every tensor and
    of the table that lists them, and all are read before a variable changes.

    Args:
        folder: `Path` or string.
        variables: Dict from names to `tf.Variable`s.
        settings: Dict that JSON can hold: what has to be the same when training goes on.
        keep: Int, at least 1. How many to keep.

    Example:
        >>> import tempfile
        >>> weight = tf.Variable(3.0)
        >>> checkpoints = Checkpoints(tempfile.mkdtemp(), {"weight": weight})
        >>> checkpoints.save(7)
        >>> _ = weight.assign(0.0)
        >>> checkpoints.restore(), float(weight)
        (7, 3.0)
    """

    def __init__(self, folder, variables, settings=None, keep=3):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.folder = Path(folder)
        self.settings = json.loads(json.dumps(settings or {}))  # tuples are lists in the file
        self.keep = keep
        self._bytes = sum(v.dtype.size * v.shape.num_elements() for v in variables.values())
        self._state = tf.train.Checkpoint(
            settings=tf.Variable(json.dumps(self.settings)), variables=variables
        )

    def save(self, step):
        """Writes a checkpoint, then removes the oldest if there are too many.

        Args:
            step: Int. If there is one of this step already, it stays.

        Raises:
            OSError: If it cannot be written, saying how much room is needed. The others are
                still there.
        """
        atomic.tidy(self.folder)
        if step not in self.steps():
            with atomic.replacing(self._path(step), self._bytes) as aside:
                self._state.write(str(aside / "state"))
        for old in self.steps()[: -self.keep]:
            atomic.remove(self._path(old))

    def restore(self, set_aside=True):
        """Brings the variables to the newest checkpoint that is whole.

        Args:
            set_aside: Bool. Whether damaged ones are moved to the folder `damaged`, if there
                is a whole one.

        Returns:
            Its step, or None if there is no checkpoint.

        Raises:
            CheckpointError: If it is of another model or of other settings, or if there are
                checkpoints and all are damaged.
            OSError: If the system does not let it be read.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                settings = _settings_of_whole(self._path(step))
            except (tf.errors.OpError, LookupError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                log.warning("%s is damaged: %s", self._path(step), reason)
                damaged.append(step)
            else:
                self._refuse_other_settings(step, settings)
                self._restore(step)
                if set_aside:
                    self._set_aside(damaged)
                return step
        if damaged:
            raise CheckpointError(
                f"All checkpoints in {self.folder} are damaged; in another folder training "
                "begins anew."
            )
        return None

    def steps(self):
        """The steps of all checkpoints, ascending, unread and so perhaps damaged."""
        names = [path.name.removeprefix("ckpt-") for path in self.folder.glob("ckpt-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, step):
        return self.folder / f"ckpt-{step}"

    def _set_aside(self, steps):
        for path in map(self._path, steps):
            aside = self.folder / "damaged" / path.name
            aside.parent.mkdir(exist_ok=True)
            atomic.remove(aside)
            path.replace(aside)

    def _refuse_other_settings(self, step, before):
        differing = differences(before, self.settings)
        if differing:
            raise CheckpointError(
                f"{self._path(step)} is of other settings.\n  " + "\n  ".join(differing)
            )

    def _restore(self, step):
        try:
            self._state.read(str(self._path(step) / "state")).assert_consumed()
        except (AssertionError, ValueError) as error:
            raise CheckpointError(f"{self._path(step)} is of another model: {error}") from error


def _settings_of_whole(path):
    """The settings in a checkpoint, all of which is read to find out whether it is whole."""
    for file in path.iterdir():
        file.open("rb").close()  # what the system refuses is no damage
    reader = tf.train.load_checkpoint(str(path / "state"))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return json.loads(reader.get_tensor(SETTINGS))
