"""Speed and memory on the accelerator of this machine, and whether its replicas agree.

    python benchmarks/accelerator.py > results/accelerator.jsonl

Takes at most --minutes, the most important first, on a GPU, several, a TPU, or else the CPU:

    step      training steps of `fit`: precisions, places of the views, sizes of the batch
    views     two views of a batch, without the step
    files     training on JPEG files, beside reading them and training on a batch in memory
    mirrored  loss and weights on all devices, beside those on one
    memory    peak of a step in one and in several micro-batches

One setting is varied at a time; the precision is then the fastest so far. A batch that does not fit
into memory is halved for later measurements; a last series doubles the batch until memory runs out.
Another process measures. When it fails, its row has the reason, and a new process goes on. The last
row names what was left.
"""

import argparse
import contextlib
import json
import re
import shlex
import shutil
import sys
import time

from accelerator_plan import (
    KINDS,
    MOST_OF_BUDGET,
    SECONDS,
    TOY,
    TOY_SECONDS,
    Plan,
    title,
)
from accelerator_table import table_of
from race import Contestant, ContestantError, Process

MOST_CHARACTERS = 3000  # of the output of a process that crashed
# A process that ends with status -9, without our timeout, was killed by the system.
OUT_OF_MEMORY = re.compile(
    r"ResourceExhausted|RESOURCE_EXHAUSTED|MemoryError|OOM|[Oo]ut of memory|\(status -9\)"
)
FUNCTIONS = {  # by kind: file of contestants/, and its function
    "describe": ("keras_bt_accelerator", "describe"),
    "step": ("keras_bt_accelerator", "step"),
    "memory": ("keras_bt_accelerator", "step"),
    "views": ("keras_bt_accelerator", "views"),
    "files": ("keras_bt_accelerator", "files"),
    "mirrored": ("keras_bt_replicas", "mirrored"),  # changes the devices of its process
}


class Worker:
    """The process that measures. Another file of contestants/ and a failure start a new one."""

    def __init__(self):
        self._file = self._process = None

    def ask(self, kind, arguments, seconds):
        """Returns what a kind of measurement answers; or why it does not, as "not_measured"."""
        started = time.monotonic()
        file, function = FUNCTIONS[kind]
        if file != self._file:
            self.close()  # it may hold all memory of the device
        try:
            if self._process is None:
                self._file, self._process = file, Process(Contestant(kind, file))
            answer = self._process.ask("call", [function, arguments], seconds)
        except ContestantError as error:
            answer = {"not_measured": str(error)}
            if time.monotonic() - started >= seconds:
                answer = {"not_measured": f"took longer than {seconds:.0f} s", "timeout": True}
            elif self._process:
                answer["traceback"] = self._process.stderr()[-MOST_CHARACTERS:]
        if "not_measured" in answer:
            answer["out_of_memory"] = bool(OUT_OF_MEMORY.search(answer["not_measured"]))
            output = answer.pop("traceback", "")
            if output and not answer["out_of_memory"]:
                print(f"\n{output}", file=sys.stderr)
            self.close()  # what failed may still hold memory
        return answer

    def close(self):
        """Ends the process."""
        if self._process:
            self._process.close()
        self._file = self._process = None


def measure(plan, worker, circumstances, deadline, most_seconds, seconds):
    """Yields a row for each measurement of the plan, until the deadline."""
    while plan.queue and (left := deadline - time.monotonic()) > 0:
        one = plan.queue.popleft()
        settings = plan.settings(one)
        print(f"accelerator: {title(one, settings)} ...", end=" ", file=sys.stderr, flush=True)
        arguments = {"network": one.network, "seconds": seconds, **settings}
        answer = worker.ask(one.kind, arguments, min(left, most_seconds))
        if answer.pop("timeout", False) and time.monotonic() >= deadline:
            plan.queue.appendleft(one)
            print("no time left", file=sys.stderr)
            return
        row = {"benchmark": "accelerator", "kind": one.kind, "case": one.network, **settings}
        row |= {"images": settings["batch"], **answer, **circumstances}
        plan.learn(one, row)
        rate = row.get("images_per_second")
        print(row.get("not_measured") or f"{rate:g} images/s", file=sys.stderr, flush=True)
        yield row


def describe(worker, seconds):
    """Returns what all rows have in common, and the type of the device.

    Exits if the process does not start.
    """
    command_line = shlex.join(["python", "benchmarks/accelerator.py", *sys.argv[1:]])
    answer = worker.ask("describe", {"command_line": command_line}, seconds)
    if "not_measured" in answer:
        sys.exit(f"accelerator: {answer['not_measured']}")
    device_type = answer.pop("device_type")
    answer["versions"] |= answer.pop("built_for")
    print(f"accelerator: {answer['devices']} x {answer['device']}", file=sys.stderr)
    if device_type == "CPU" and shutil.which("nvidia-smi"):
        print(
            "accelerator: this machine has an NVIDIA GPU that TensorFlow does not find; "
            "`pip install 'tensorflow[and-cuda]'` installs what it needs.",
            file=sys.stderr,
        )
    return answer, device_type


def main():
    """Prints a JSON line for each row, and a table on stderr."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="budget, with every start")
    parser.add_argument("--only", default=",".join(KINDS), help="comma-separated kinds")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the script itself")
    flags = parser.parse_args()
    kinds = flags.only.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--only takes some of {', '.join(KINDS)}, got {', '.join(sorted(unknown))}.")
    budget = 60 * flags.minutes
    with contextlib.closing(Worker()) as worker:
        circumstances, device_type = describe(worker, budget)
        plan = Plan(kinds, device_type, *([(TOY,)] if flags.toy else []))
        limits = started + budget, MOST_OF_BUDGET * budget
        seconds = TOY_SECONDS if flags.toy else SECONDS
        rows = []
        for row in measure(plan, worker, circumstances, *limits, seconds):
            print(json.dumps(row, allow_nan=False), flush=True)
            rows.append(row)
    left = [title(one, plan.settings(one)) for one in plan.queue]
    last = {"benchmark": "accelerator", "kind": "left", "left": left}
    last["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps({**last, **circumstances}), flush=True)
    print(f"\n{table_of([*rows, last])}", file=sys.stderr)


if __name__ == "__main__":
    main()
