"""Contestants measured in turn in one run, so that all meet the same noise of the machine.

Each is a file of contestants/ in a process of its own, with an environment of its own where it
needs one. They go round by round, each round in another order; who is not at its turn sleeps.
The table goes to stderr, and a JSON line for each case and contestant to stdout.
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
    "TF_ENABLE_ONEDNN_OPTS": "1",  # keras-cv by itself gets what keras_bt asks for
}
PATIENCE_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Someone to measure.

    Args:
        name: In tables.
        file: Of contestants/, without .py.
        options: What its `prepare` gets beside the arguments of a case.
        python: Interpreter of its environment.
    """

    name: str
    file: str
    options: dict = dataclasses.field(default_factory=dict)
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Case:
    """Something to measure all of them with.

    Args:
        name: In tables.
        arguments: What `prepare` of each contestant gets.
        images: Source images a step, for rates; None where there are none.
        wanted: By contestants' names, how many times as fast the first is to be.
    """

    name: str
    arguments: dict
    images: int | None = None
    wanted: dict = dataclasses.field(default_factory=dict)


class NotMeasured(Exception):
    """Why a contestant is not in the race."""


class Process:
    """A contestant's process; see contestants/__main__.py for what it answers.

    Args:
        contestant: `Contestant`.

    Raises:
        NotMeasured: Here and at each question, if the process cannot go on.
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
            raise NotMeasured(f"{error.strerror}: {contestant.python}{self._hint}") from error

    def ask(self, command, argument):
        """Asks, and waits for the answer."""
        too_late = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        too_late.start()
        try:
            self._process.stdin.write(json.dumps([command, argument]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            too_late.cancel()
        if not answer:
            raise NotMeasured(self._last_words())
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

    def _last_words(self):
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().split("\n")
        said = next((line.strip() for line in reversed(words) if line.strip()), "no word")
        hint = self._hint if "ModuleNotFoundError" in said else ""
        return f"{said[:200]} (status {status}){hint}"


def time_steps(case, contestants, rounds, seconds):
    """Seconds a step of each contestant, a number a round.

    Args:
        case: `Case`.
        contestants: `Contestant`s.
        rounds: Int.
        seconds: Float. How long a contestant is measured in a round, about.

    Returns:
        figures: From names to lists of `rounds` numbers; or to why there are none.
        versions: From names to what the contestants run on.
    """
    by_name = {contestant.name: contestant for contestant in contestants}
    figures, versions, steps = {name: [] for name in by_name}, {}, {}
    with contextlib.ExitStack() as stack:
        processes = {}

        def for_each(names, do):
            for name in names:
                try:
                    do(name)
                except NotMeasured as reason:
                    figures[name] = str(reason)
                    processes.pop(name, None)

        def start(name):
            processes[name] = Process(by_name[name])
            stack.callback(processes[name].close)

        def warm_up(name):
            arguments = {**case.arguments, **by_name[name].options}
            versions[name] = processes[name].ask("prepare", arguments)
            steps[name] = processes[name].ask("warm_up", seconds)

        def run(name):
            figures[name].append(processes[name].ask("run", steps[name]))

        for_each(by_name, start)  # all at once: imports take a while
        for_each(list(processes), warm_up)
        for number in range(rounds):
            names = list(processes)
            first = number % max(len(names), 1)
            for_each(names[first:] + names[:first], run)
    return figures, versions


def weigh_steps(case, contestants, rounds, steps):
    """Megabytes by which memory rises at most over some steps; as `time_steps`.

    Each figure is of a fresh process, which has done nothing before these steps.
    """
    figures, versions = {contestant.name: [] for contestant in contestants}, {}
    for _ in range(rounds):
        for contestant in contestants:
            name = contestant.name
            if isinstance(figures[name], str):
                continue
            try:
                with contextlib.closing(Process(contestant)) as process:
                    arguments = {**case.arguments, **contestant.options}
                    versions[name] = process.ask("prepare", arguments)
                    figures[name].append(process.ask("peak", steps))
            except NotMeasured as reason:
                figures[name] = str(reason)
    return figures, versions


def rows_of(benchmark, case, figures, versions, unit="s"):
    """Rows of results: a contestant each, and what the first of them gains on it."""
    from keras_bt import ledger  # imports TensorFlow, once they have been measured

    first, *_ = figures.values()
    for name, values in figures.items():
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
    """A whole benchmark; its script's flag --case takes a part of a case's name.

    Args:
        benchmark: Name.
        cases: `Case`s, or a function from the flags to them.
        contestants: `Contestant`s, the first of which the others are compared with.
        measure: `time_steps` or `weigh_steps`.
        rounds: Int.
        amount: Seconds or steps a round, the last argument of `measure`.
        unit: Of what it measures: "s" or "MB".
        parser: `argparse.ArgumentParser` with further flags, or None.
    """
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--rounds", type=int, default=rounds)
    flags = parser.parse_args()
    for case in cases(flags) if callable(cases) else cases:
        if flags.case in case.name:
            print(f"{benchmark}: {case.name} ...", file=sys.stderr, flush=True)
            found = measure(case, contestants, flags.rounds, amount)
            rows = list(rows_of(benchmark, case, *found, unit))
            print(*map(json.dumps, rows), sep="\n", flush=True)
            print("\n" + report.race_table(rows) + "\n", file=sys.stderr, flush=True)


def _ratio(values, first):
    # Of the same round, for noise that lasts longer than a round then cancels.
    return _rounded(statistics.median(a / b for a, b in zip(values, first, strict=False)))


def _rounded(number):
    return float(f"{number:.4g}")
