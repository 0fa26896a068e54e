"""Starts several workers of one command on this machine, and restarts them together.

    python -m keras_bt.distribution.launch --workers=2 -- examples/pretrain.py --recipe=digits

Each worker gets a TF_CONFIG with new ports and an equal share of the CPU's cores and of the GPUs,
those in CUDA_VISIBLE_DEVICES if that is set. What the first one prints is the output; the
others' goes to stderr. When a worker dies the others, which wait for it, are stopped, and all
are started again; a command that refuses its settings (exit status 2) is not.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from absl import app, flags

FLAGS = flags.FLAGS
AFTERMATH_SECONDS = 1.0  # in which the deaths that one brings about come to light
REFUSED = 2  # exit status of a script whose settings are wrong: the same would happen again


def worker_environments(count, environment=None):
    """The environment variables of each worker.

    Args:
        count: Int.
        environment: Dict to start from; None for this process's.

    Returns:
        List of dicts.

    Raises:
        ValueError: If there are GPUs, but fewer than workers.

    Example:
        >>> environments = worker_environments(2, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
        >>> [each["CUDA_VISIBLE_DEVICES"] for each in environments]
        ['0,1', '2,3']
    """
    environment = dict(os.environ if environment is None else environment)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    threads = max(1, (os.cpu_count() or 1) // count)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        environment.setdefault(name, str(threads))
    gpus = _visible_gpus(environment)
    if 0 < len(gpus) < count:
        raise ValueError(
            f"There are {len(gpus)} GPUs for {count} workers; CUDA_VISIBLE_DEVICES= has them train "
            "on the CPU."
        )
    environments = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        own = {"TF_CONFIG": json.dumps(config)}
        if gpus:
            share = len(gpus) // count
            own["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[index * share : (index + 1) * share])
        environments.append({**environment, **own})
    return environments


def run_once(command, count, grace_seconds):
    """Runs the workers until all have ended, or one has died and the others were stopped.

    Args:
        command: List of strings.
        count: Int.
        grace_seconds: Float. Between SIGTERM and SIGKILL.

    Returns:
        (index, exit status) of the worker that died first, or None if none did. The status
        is negative for a signal.
    """
    workers = []
    try:
        for index, environment in enumerate(worker_environments(count)):
            output = None if index == 0 else sys.stderr
            workers.append(subprocess.Popen(command, env=environment, stdout=output))
        while True:
            statuses = [worker.poll() for worker in workers]
            died = [(index, status) for index, status in enumerate(statuses) if status]
            if died:
                return _cause(workers)
            if None not in statuses:
                return None
            time.sleep(0.1)
    finally:
        _stop(workers, grace_seconds)


def launch(command, count, restarts=3, grace_seconds=10.0):
    """Runs workers until they succeed, refuse, or have been restarted often enough.

    Args:
        command: List of strings.
        count: Int. How many workers.
        restarts: Int. How often all are started again when one has died.
        grace_seconds: See `run_once`.

    Returns:
        Exit status as a shell has it: 0, the dead worker's, or 128 and its signal.

    Example:
        >>> launch([sys.executable, "-c", "pass"], count=2)
        0
    """
    for attempt in range(restarts + 1):
        died = run_once(command, count, grace_seconds)
        if died is None:
            return 0
        index, status = died
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
        last = attempt == restarts or status == REFUSED
        what = "giving up" if last else f"restarting all, {attempt + 1} of {restarts} times"
        print(f"launch: worker {index} {how}; {what}.", file=sys.stderr, flush=True)
        if last:
            break
    return 128 - status if status < 0 else status


def main(arguments):
    """`launch` with what the flags say."""
    command = arguments[1:]
    if not command:
        sys.exit("launch: give the command after --, like `-- examples/pretrain.py`.")
    if command[0].endswith(".py"):
        command = [sys.executable, *command]
    # So that a stopped launcher stops its workers on its way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(launch(command, FLAGS.workers, FLAGS.restarts, FLAGS.grace_seconds))
    except ValueError as error:
        sys.exit(f"launch: {error}")


def _cause(workers):
    """Which death the others followed from: a refusal or a signal rather than an error."""
    time.sleep(AFTERMATH_SECONDS)
    died = [(i, worker.poll()) for i, worker in enumerate(workers) if worker.poll()]
    refused = [one for one in died if one[1] == REFUSED]
    return min(refused or died, key=lambda one: one[1])


def _visible_gpus(environment):
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return [str(index) for index in range(listed.stdout.count("GPU "))]


def _free_ports(count):
    doors = [socket.socket() for _ in range(count)]
    for door in doors:
        door.bind(("127.0.0.1", 0))
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports


def _stop(workers, grace_seconds):
    running = [worker for worker in workers if worker.poll() is None]
    for worker in running:
        worker.terminate()
    deadline = time.monotonic() + grace_seconds
    for worker in running:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()  # a worker that waits for a dead one does not heed SIGTERM
            worker.wait()


if __name__ == "__main__":
    flags.DEFINE_integer("workers", None, "How many to start.", 1, required=True)
    flags.DEFINE_integer("restarts", 3, "How often to restart all when one dies.", 0)
    flags.DEFINE_float("grace_seconds", 10.0, "Between SIGTERM and SIGKILL.", 0.0)
    app.run(main)
