"""A contestant's process: `python contestants NAME` answers a race, a JSON line a question.

["prepare", {...}]    calls `prepare(**...)` of NAME.py, which returns `run(steps)`
["warm_up", seconds]  runs two steps and says how many take so long
["run", steps]        seconds a step; `run` may return those that count, all together
["peak", steps]       megabytes by which the process grew at most
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
from pathlib import Path

NAMED = ("tensorflow", "keras", "keras_cv", "torch", "torchvision", "kornia", "lightly")


def main(name):
    """Answers until nobody asks."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    contestant = importlib.import_module(name)
    for question in sys.stdin:
        command, argument = json.loads(question)
        if command == "prepare":
            run = contestant.prepare(**argument)
            answer = circumstances()
        elif command == "warm_up":
            run(1)
            answer = max(1, round(argument / seconds_a_step(run, 1)))
        elif command == "run":
            answer = seconds_a_step(run, argument)
        elif command == "peak":
            answer = megabytes_at_most(run, argument)
        print(json.dumps(answer), file=answers, flush=True)


def seconds_a_step(run, steps):
    """Times some steps."""
    began = time.perf_counter()
    counted = run(steps)
    return (time.perf_counter() - began if counted is None else counted) / steps


def megabytes_at_most(run, steps):
    """By how much the resident memory exceeded what it was before some steps."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    run(steps)
    return resident("VmHWM") - before


def resident(field):
    """A line of /proc/self/status, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}.")


def circumstances():
    """What the contestant runs on."""
    versions = {
        name: importlib.metadata.version(name.replace("_", "-"))
        for name in NAMED
        if name in sys.modules
    }
    return {"versions": versions, "threads": len(os.sched_getaffinity(0))}


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {str(error).splitlines()[0]}")
