"""`keras-bt launch`: the command; workers are tested in tests/distribution."""

import signal
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pretrain", "--recipe=digits"], ["-m", "keras_bt", "pretrain", "--recipe=digits"]),
        (["my_script.py", "--flag"], ["my_script.py", "--flag"]),
    ],
)
def test_launches_commands_and_scripts(command, monkeypatch, arguments, expected):
    launched = []

    def launch(*settings):
        launched.append(settings)
        return 7

    monkeypatch.setattr("keras_bt.cli.launch.launch", launch)
    before = signal.getsignal(signal.SIGTERM)
    finished = command("launch", "--workers=2", "--restarts=1", "--", *arguments)
    assert finished.status == 7
    ((words, workers, restarts, grace_seconds),) = launched
    assert words == [sys.executable, *expected]
    assert (workers, restarts, grace_seconds) == (2, 1, 10.0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_refuses_a_missing_command_or_number_of_workers(command):
    assert "give a command after --" in command("launch", "--workers=2").refusal
    assert "--workers is missing: Number of workers." in command("launch", "--", "a.py").refusal
