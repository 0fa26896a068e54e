"""Measures contestants in turns in one run, so that all have the same noise of the machine.

A contestant is a file of contestants/. It runs in a process of its own, in its own Python
environment if it needs one. Contestants take turns in rounds; the order changes each round, and all
others sleep. The table goes to stderr, a JSON line for each case and contestant to stdout.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import report

CONTESTANTS = Path(__file__).parent / "contestants"
PEERS = os.environ.get("BENCH_PYTHON", f"{Path(__file__).parents[1]}/.venv-bench/bin/python")
CORES = len(os.sched_getaffinity(0))
ENVIRONMENT = {
    "OMP_NUM_THREADS": str(CORES),  # PyTorch's
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # as `import keras_bt` does; also for keras-cv alone
}
ANSWER_TIMEOUT_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A program to measure.

    Args:
        name: Name in tables.
        file: File of contestants/, without .py.
        options: Arguments of its `prepare` besides those of a case.
        python: Interpreter of its environment.
    """

    name: str
    file: str
    options: dict = dataclasses.field(default_factory=dict)
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Case:
    """A task that all contestants are measured on.

    Args:
        name: Name in tables.
        arguments: Arguments of `prepare` of each contestant.
        images: Source images per step, for rates; None if there are no images.
        wanted: Goals: by how many times the first should be faster, by name of contestant.
    """

    name: str
    arguments: dict
    images: int | None = None
    wanted: dict = dataclasses.field(default_factory=dict)


class ContestantError(Exception):
    """A contestant that cannot run; the message is the reason."""


class Process:
    """The process of a contestant; contestants/__main__.py lists its commands.

    Args:
        contestant: `Contestant`.

    Raises:
        ContestantError: Here and in `ask`, if the process does not start or ends.
    """

    def __init__(self, contestant):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._hint = "; make bench-setup" if contestant.python == PEERS else ""
        try:
            self._process = subprocess.Popen(
                [contestant.python, CONTESTANTS, contestant.file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **ENVIRONMENT},
            )
        except OSError as error:
            self._errors.close()
            raise ContestantError(f"{error.strerror}: {contestant.python}{self._hint}") from error

    def ask(self, command, argument, timeout_seconds=ANSWER_TIMEOUT_SECONDS):
        """Sends a command, waits for the answer and returns it."""
        timeout = threading.Timer(timeout_seconds, self._process.kill)
        timeout.start()
        try:
            self._process.stdin.write(json.dumps([command, argument]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timeout.cancel()
        if not answer:
            raise ContestantError(self._error_message())
        return json.loads(answer)

    def close(self):
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def stderr(self):
        """Returns what the process has written to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    def _error_message(self):
        """Returns the last line on stderr and the exit status."""
        status = self._process.wait()
        lines = self.stderr().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        hint = self._hint if "ModuleNotFoundError" in last else ""
        return f"{last[:200]} (status {status}){hint}"


def time_steps(case, contestants, rounds, seconds):
    """Measures the seconds per step of each contestant in each round.

    Args:
        case: `Case`.
        contestants: `Contestant`s.
        rounds: Number of rounds.
        seconds: Approximate duration of a contestant's turn.

    Returns:
        measurements: From names to lists of `rounds` numbers, or to the reason why it failed.
        versions: From names to the answers of `prepare`.
    """
    by_name = {contestant.name: contestant for contestant in contestants}
    measurements, versions, steps = {name: [] for name in by_name}, {}, {}
    with contextlib.ExitStack() as stack:
        processes = {}

        def for_each(names, do):
            for name in names:
                try:
                    do(name)
                except ContestantError as reason:
                    measurements[name] = str(reason)
                    processes.pop(name, None)

        def start(name):
            processes[name] = Process(by_name[name])
            stack.callback(processes[name].close)

        def warm_up(name):
            arguments = {**case.arguments, **by_name[name].options}
            versions[name] = processes[name].ask("prepare", arguments)
            steps[name] = processes[name].ask("warm_up", seconds)

        def run(name):
            measurements[name].append(processes[name].ask("run", steps[name]))

        for_each(by_name, start)  # all at once, because imports take seconds
        for_each(list(processes), warm_up)
        for number in range(rounds):
            names = list(processes)
            first = number % max(len(names), 1)
            for_each(names[first:] + names[:first], run)
    return measurements, versions


def weigh_steps(case, contestants, rounds, steps):
    """Measures by how many megabytes some steps raise the peak memory of a new process.

    Arguments and return values are as in `time_steps`.
    """
    measurements, versions = {contestant.name: [] for contestant in contestants}, {}
    for _ in range(rounds):
        for contestant in contestants:
            name = contestant.name
            if isinstance(measurements[name], str):
                continue
            try:
                with contextlib.closing(Process(contestant)) as process:
                    arguments = {**case.arguments, **contestant.options}
                    versions[name] = process.ask("prepare", arguments)
                    measurements[name].append(process.ask("peak", steps))
            except ContestantError as reason:
                measurements[name] = str(reason)
    return measurements, versions


def rows_of(benchmark, case, measurements, versions, unit="s"):
    """Yields a row of results for each contestant, with its ratio to the first."""
    from keras_bt.run import ledger  # imports TensorFlow, which must not run while measuring

    first, *_ = measurements.values()
    for name, values in measurements.items():
        row = {
            "benchmark": benchmark,
            "case": case.name,
            "contestant": name,
            "images": case.images,
            "wanted": case.wanted.get(name),
        }
        if isinstance(values, str):
            row |= {"not_measured": values}
        else:
            row |= {
                "unit": unit,
                "median": _rounded(statistics.median(values)),
                "fastest": _rounded(min(values)),
                "slowest": _rounded(max(values)),
                "rounds": len(values),
                "ratio": None if isinstance(first, str) else _ratio(values, first),
                **versions[name],
            }
        yield {**row, **ledger.circumstances()}


def main(
    benchmark, cases, contestants, measure=time_steps, rounds=5, amount=1.0, unit="s", parser=None
):
    """Runs a benchmark as a script.

    Args:
        benchmark: Name of the benchmark.
        cases: `Case`s, or a function from the flags to cases.
        contestants: `Contestant`s; all are compared with the first.
        measure: `time_steps` or `weigh_steps`.
        rounds: Default of --rounds.
        amount: Seconds or steps per round, the last argument of `measure`.
        unit: Unit of the measurement, "s" or "MB".
        parser: `argparse.ArgumentParser` with further flags, or None.
    """
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--rounds", type=int, default=rounds)
    flags = parser.parse_args()
    for case in cases(flags) if callable(cases) else cases:
        if flags.case in case.name:
            print(f"{benchmark}: {case.name} ...", file=sys.stderr, flush=True)
            measured = measure(case, contestants, flags.rounds, amount)
            rows = list(rows_of(benchmark, case, *measured, unit))
            print(*map(json.dumps, rows), sep="\n", flush=True)
            print("\n" + report.race_table(rows) + "\n", file=sys.stderr, flush=True)


def _ratio(values, first):
    """Returns the median ratio to the first contestant."""
    # Ratios within a round, so that noise which lasts longer than a round cancels.
    return _rounded(statistics.median(a / b for a, b in zip(values, first, strict=False)))


def _rounded(number):
    """Returns a number with four significant digits."""
    return float(f"{number:.4g}")
