"""The process of a contestant: answers the commands of a race.

    python benchmarks/contestants NAME

Commands and answers are JSON lines.

["prepare", {...}]    calls `prepare(**...)` of NAME.py, which returns `run(steps)`
["warm_up", seconds]  runs two steps; answers how many steps take that many seconds
["run", steps]        answers the seconds per step; `run` may return the total seconds itself
["peak", steps]       answers the megabytes by which the process grew at its peak
["call", [function, {...}]]
                      answers the dict that a function of NAME.py returns, or why it failed
"""

import importlib
import importlib.metadata
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path

STACK = re.compile(r"\s|Graph execution error|Detected at|<stack")
LIBRARIES = ("tensorflow", "keras", "keras_cv", "torch", "torchvision", "kornia", "lightly")


def main(name):
    """Answers commands until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print, which must not mix with answers
    contestant = importlib.import_module(name)
    for line in sys.stdin:
        command, argument = json.loads(line)
        if command == "prepare":
            run = contestant.prepare(**argument)
            answer = circumstances()
        elif command == "warm_up":
            run(1)
            answer = max(1, round(argument / seconds_per_step(run, 1)))
        elif command == "run":
            answer = seconds_per_step(run, argument)
        elif command == "peak":
            answer = peak_megabytes(run, argument)
        elif command == "call":
            answer = call(contestant, *argument)
        print(json.dumps(answer), file=answers, flush=True)


def seconds_per_step(run, steps):
    """Returns the seconds per step of a run."""
    start = time.perf_counter()
    measured = run(steps)
    return (time.perf_counter() - start if measured is None else measured) / steps


def peak_megabytes(run, steps):
    """Returns the peak of the resident memory during a run, less the memory before it."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    run(steps)
    return resident("VmHWM") - before


def resident(field):
    """Returns a field of /proc/self/status in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}.")


def call(contestant, function, arguments):
    """Returns the dict of a function, with versions; or its error, in one line and whole."""
    try:
        return {**getattr(contestant, function)(**arguments), **circumstances()}
    except Exception as error:
        return {"not_measured": reason(error), "traceback": traceback.format_exc()}


def reason(error):
    """Returns the type of an error and the line of its message that has the reason.

    TensorFlow's messages begin with the call stack of the graph.
    """
    lines = (line for line in str(error).splitlines() if line and not STACK.match(line))
    return f"{type(error).__name__}: {next(lines, 'no message')}"


def circumstances():
    """Returns the versions of imported libraries and the number of threads."""
    versions = {
        name: importlib.metadata.version(name.replace("_", "-"))
        for name in LIBRARIES
        if name in sys.modules
    }
    return {"versions": versions, "threads": len(os.sched_getaffinity(0))}


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        traceback.print_exc()
        sys.exit(reason(error))
