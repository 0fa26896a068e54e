"""Runs commands of `keras-bt` in this process, because importing TensorFlow takes seconds."""

import contextlib
import dataclasses
import io
import json

import pytest

from keras_bt.cli.main import main

TINY = ("--width=2", "--projector_dims=16,8", "--epochs=2", "--batch_size=256")


@dataclasses.dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def result(self):
        """The JSON in the last line of stdout."""
        assert self.status == 0, self.stderr
        return json.loads(self.stdout.splitlines()[-1])

    @property
    def refusal(self):
        """The message of a command that refused."""
        assert self.status == 2, (self.status, self.stdout, self.stderr)
        assert "Traceback" not in self.stderr
        return self.stderr.splitlines()[-1]


def run_command(*arguments):
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = main([str(argument) for argument in arguments])
    return Finished(status, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="session")
def command():
    return run_command


@pytest.fixture(scope="session")
def tiny_flags():
    return TINY


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A tiny run on digits: its folder, and the command that made it."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    finished = run_command("pretrain", f"--workdir={workdir}", "--seed=3", *TINY)
    assert finished.status == 0, finished.stderr
    return workdir, finished
