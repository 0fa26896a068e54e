"""Starts several workers of one command on this machine, and restarts them together."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence

SETTLE_SECONDS = 1.0  # after a failure; the workers that it crashes fail within this time
REFUSED = 2  # exit status of a command with wrong settings; a restart would not help

Process = subprocess.Popen[bytes]


def worker_command(arguments: Sequence[str], commands: Collection[str]) -> list[str]:
    """The command line of a worker.

    Args:
        arguments: A command of keras-bt, a Python script or any program, with its arguments.
        commands: The names of keras-bt's commands.

    Returns:
        The command line for `launch`.

    Example:
        >>> worker_command(["pretrain", "--recipe=digits"], ["pretrain"])[1:]
        ['-m', 'keras_bt', 'pretrain', '--recipe=digits']
        >>> worker_command(["nvidia-smi", "--list-gpus"], ["pretrain"])
        ['nvidia-smi', '--list-gpus']
    """
    if arguments[0] in commands:
        return [sys.executable, "-m", "keras_bt", *arguments]
    if arguments[0].endswith(".py"):
        return [sys.executable, *arguments]
    return list(arguments)


def launch(
    command: Sequence[str], count: int, restarts: int = 3, grace_seconds: float = 10.0
) -> int:
    """Runs workers until they succeed, reject their settings, or fail too often.

    The output of the first worker goes to stdout, that of the others to stderr. When a worker
    fails, the others are stopped and all are restarted. After exit status 2 (wrong settings)
    nothing is restarted.

    Args:
        command: The command line of each worker.
        count: Number of workers.
        restarts: Largest number of restarts after a worker fails.
        grace_seconds: Time between SIGTERM and SIGKILL for workers that are stopped.

    Returns:
        Exit status as in a shell: 0, that of the worker that failed, or 128 plus its signal.

    Raises:
        ValueError: If there are GPUs, but fewer than workers.

    Example:
        >>> launch([sys.executable, "-c", "pass"], count=2)
        0
    """
    for attempt in range(restarts + 1):
        dead_worker = run_once(command, count, grace_seconds)
        if dead_worker is None:
            return 0
        index, status = dead_worker
        how = (
            f"was killed by {signal.Signals(-status).name}"
            if status < 0
            else f"exited with status {status}"
        )
        last = attempt == restarts or status == REFUSED
        next_act = "giving up" if last else f"restarting all (restart {attempt + 1} of {restarts})"
        print(f"launch: worker {index} {how}; {next_act}.", file=sys.stderr, flush=True)
        if last:
            break
    return 128 - status if status < 0 else status


def run_once(command: Sequence[str], count: int, grace_seconds: float) -> tuple[int, int] | None:
    """Runs the workers until all succeed or one fails; then stops the others.

    Args:
        command: See `launch`.
        count: See `launch`.
        grace_seconds: See `launch`.

    Returns:
        (index, exit status) of the worker that failed first, or None if all succeeded. The
        status is negative for a signal.

    Raises:
        ValueError: See `worker_environments`.
    """
    workers: list[Process] = []
    try:
        for index, environment in enumerate(worker_environments(count)):
            output = None if index == 0 else sys.stderr
            workers.append(subprocess.Popen(command, env=environment, stdout=output))
        while True:
            statuses = [worker.poll() for worker in workers]
            if any(statuses):
                return _first_failure(workers)
            if None not in statuses:
                return None
            time.sleep(0.1)
    finally:
        _stop(workers, grace_seconds)


def worker_environments(
    count: int, environment: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """The environment variables of each worker.

    Each worker gets a TF_CONFIG with new ports, and an equal share of the CPU's cores and of
    the GPUs.

    Args:
        count: Number of workers.
        environment: Variables to start from; None for those of this process. GPUs that
            CUDA_VISIBLE_DEVICES hides are not used; -1 or nothing hides all.

    Returns:
        A dict for each worker.

    Raises:
        ValueError: If there are GPUs, but fewer than workers.

    Example:
        >>> environments = worker_environments(2, {"CUDA_VISIBLE_DEVICES": "GPU-3f,GPU-a1"})
        >>> [each["CUDA_VISIBLE_DEVICES"] for each in environments]
        ['GPU-3f', 'GPU-a1']
    """
    environment = dict(os.environ if environment is None else environment)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    threads = max(1, (os.cpu_count() or 1) // count)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        environment.setdefault(name, str(threads))
    gpus = _visible_gpus(environment)
    if 0 < len(gpus) < count:
        found = "is 1 GPU" if len(gpus) == 1 else f"are {len(gpus)} GPUs"
        raise ValueError(
            f"There {found} for {count} workers; start at most {len(gpus)}, or set "
            "CUDA_VISIBLE_DEVICES=-1 to train on the CPU."
        )
    environments = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        variables = {"TF_CONFIG": json.dumps(config)}
        if gpus:
            share = len(gpus) // count
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[index * share : (index + 1) * share])
        environments.append({**environment, **variables})
    return environments


def _first_failure(workers: Sequence[Process]) -> tuple[int, int]:
    """The worker that crashed the others: one with status 2, else a signal before an error."""
    time.sleep(SETTLE_SECONDS)
    statuses = [(index, worker.poll()) for index, worker in enumerate(workers)]
    dead = [(index, status) for index, status in statuses if status]
    refused = [worker for worker in dead if worker[1] == REFUSED]
    return min(refused or dead, key=lambda worker: worker[1])


def _visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA shows to a process, as CUDA_VISIBLE_DEVICES names them."""
    installed = _installed_gpus()
    if "CUDA_VISIBLE_DEVICES" not in environment:
        return [str(index) for index in range(installed or 0)]

    def exists(name: str) -> bool:
        if re.fullmatch("[0-9]+", name):
            return installed is None or int(name) < installed
        return name.startswith(("GPU-", "MIG-"))

    # CUDA ignores what follows the first name that is no GPU, and all of a list that names one
    # twice.
    names = [name.strip() for name in environment["CUDA_VISIBLE_DEVICES"].split(",")]
    gpus = list(itertools.takewhile(exists, names))
    return gpus if len(gpus) == len(set(gpus)) else []


def _installed_gpus() -> int | None:
    """The number of GPUs of this machine; None if nvidia-smi is not there to count them."""
    if shutil.which("nvidia-smi") is None:
        return None
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return listing.stdout.count("GPU ")


def _free_ports(count: int) -> list[int]:
    """Ports that no process of this machine uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _stop(workers: Sequence[Process], grace_seconds: float) -> None:
    """Terminates workers, and kills those that are still alive after the grace period."""
    running = [worker for worker in workers if worker.poll() is None]
    for worker in running:
        worker.terminate()
    deadline = time.monotonic() + grace_seconds
    for worker in running:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()  # a worker that waits for a dead one ignores SIGTERM
            worker.wait()
