"""Strategies by name: one device, several devices, several machines, a TPU."""

import difflib
import itertools
import json
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from keras_bt._support import compat

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")
SLURM_PORTS = range(12_000, 28_000)  # below the ports that operating systems assign

Jobs = dict[str, list[str]]  # addresses of the tasks of each job


def strategy(
    name: str = "auto", devices: str | None = None, timeout_seconds: float = 600
) -> tf.distribute.Strategy:
    """Makes a `tf.distribute` strategy by name. Call it before any other use of TensorFlow.

    Args:
        name: "one": a single device. "mirrored": all devices of this process.
            "multi_worker": all devices of all processes in TF_CONFIG or the SLURM step. "tpu":
            the TPU of this machine, or the one named by TPU_NAME. "auto": chosen from the
            environment and the devices.
        devices: None for all devices, "cpu:4" for four logical CPUs, "gpu:2" for
            the first two GPUs of each process.
        timeout_seconds: How long to wait for the other workers.

    Returns:
        The strategy. Build and compile models in its `scope()`.

    Raises:
        ValueError: If the strategy is unknown or not available on this machine.
        TimeoutError: If a worker does not start in time; the message names it.

    Example:
        >>> strategy("one").num_replicas_in_sync
        1
    """
    _check_name(name)
    cluster = _cluster() if name in ("auto", "multi_worker") else None
    if devices is not None:
        _set_devices(devices)
    if name == "multi_worker" and cluster is None:
        raise ValueError(
            "multi_worker needs several workers in TF_CONFIG or in a SLURM step; "
            "`keras-bt launch --workers=2 -- ...` starts some on this machine."
        )
    if cluster is not None:
        return _multi_worker(*cluster, timeout_seconds)
    if name == "tpu" or (name == "auto" and tf.config.list_physical_devices("TPU")):
        return _tpu()
    local = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "one" or (name == "auto" and len(local) == 1):
        return tf.distribute.get_strategy()
    # TensorFlow 2.21's default, ring reduction, cannot run several steps in one execution on a CPU.
    on_cpu = tf.distribute.ReductionToOneDevice() if local[0].device_type == "CPU" else None
    return tf.distribute.MirroredStrategy([d.name for d in local], cross_device_ops=on_cpu)


def on_accelerators(strategy: tf.distribute.Strategy) -> bool:
    """Whether the devices are GPUs or TPUs.

    Args:
        strategy: The strategy to train under.

    Example:
        >>> on_accelerators(tf.distribute.OneDeviceStrategy("CPU:0"))
        False
    """
    if isinstance(strategy, tf.distribute.OneDeviceStrategy):
        device = strategy.extended.worker_devices[0]
        return tf.DeviceSpec.from_string(device).device_type != "CPU"
    tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    return tpu or bool(tf.config.list_logical_devices("GPU"))


def distribute_batches(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[tf.distribute.InputContext | None], tf.data.Dataset],
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Makes the data for `fit` under a strategy. Each worker reads its own part.

    Args:
        strategy: The strategy of the training.
        make_dataset: Returns the batches for a `tf.distribute.InputContext`, as
            `data.Images.shuffled_batches` does. The context is None on a single replica.

    Returns:
        The dataset, distributed if there are several replicas.

    Example:
        >>> one = tf.distribute.get_strategy()
        >>> batches = distribute_batches(one, lambda context: tf.data.Dataset.range(3))
        >>> int(batches.cardinality())
        3
    """
    if strategy.num_replicas_in_sync == 1:
        return make_dataset(None)
    return strategy.distribute_datasets_from_function(make_dataset)


def _check_name(name: str) -> None:
    """Rejects unknown strategies."""
    if name in STRATEGIES:
        return
    if "param" in name or name == "ps":
        raise ValueError(
            "Parameter servers have no global batch, which the loss needs. Use 'mirrored' or "
            "'multi_worker'."
        )
    nearest = difflib.get_close_matches(name, STRATEGIES, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"There is no strategy {name!r}{hint} Available: {', '.join(STRATEGIES)}.")


def _set_devices(devices: str) -> None:
    """Restricts TensorFlow to some GPUs, or splits the CPU."""
    match = re.fullmatch(r"(cpu|gpu):([1-9]\d*)", devices)
    if match is None:
        raise ValueError(f"devices must be 'cpu:N' or 'gpu:N', such as 'cpu:4', got {devices!r}.")
    kind, count = match[1].upper(), int(match[2])
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "GPU" and len(gpus) < count:
        raise ValueError(f"devices is {devices!r}, but this machine has {len(gpus)} GPUs.")
    try:
        if kind == "GPU":
            tf.config.set_visible_devices(gpus[:count], "GPU")
            return
        tf.config.set_visible_devices([], "GPU")
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical_cpus = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, logical_cpus)
    except RuntimeError as error:
        raise ValueError(
            f"devices={devices!r} must be set before any other use of TensorFlow."
        ) from error


def _cluster() -> tuple[Jobs, str, int] | None:
    """(all jobs, own job, own index) if the environment describes several workers."""
    if _slurm_tasks() > 1 and "TF_CONFIG" not in os.environ:
        os.environ["TF_CONFIG"] = json.dumps(_tf_config_of_slurm())
    if "TF_CONFIG" not in os.environ:
        return None
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        jobs, task = config.get("cluster", {}), config.get("task", {})
        if sum(map(len, jobs.values())) < 2:
            return None
        jobs[task["type"]][task["index"]]
        for address in itertools.chain(*jobs.values()):
            int(address.rsplit(":", 1)[1])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG must be like {"cluster": {"worker": ["host1:port", "host2:port"]}, "task": '
            f'{{"type": "worker", "index": 0}}}}, got {os.environ["TF_CONFIG"]}.'
        ) from error
    if not jobs.keys() <= {"chief", "worker"}:
        raise ValueError(
            f"TF_CONFIG has the jobs {sorted(jobs)}; only chief and worker are allowed."
        )
    return jobs, task["type"], task["index"]


def _slurm_tasks() -> int:
    """Number of tasks of the SLURM step; 1 outside SLURM."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) if "SLURM_PROCID" in os.environ else 1


def _tf_config_of_slurm() -> dict[str, Any]:
    """TF_CONFIG with a worker for each task of the SLURM step."""
    port = SLURM_PORTS[int(os.environ.get("SLURM_JOB_ID", 0)) % len(SLURM_PORTS)]
    try:
        workers = [
            f"{host}:{port + task}"
            for host, count in compat.slurm_hosts_and_tasks(
                os.environ["SLURM_STEP_NODELIST"], os.environ["SLURM_STEP_TASKS_PER_NODE"]
            )
            for task in range(count)
        ]
    except (ValueError, KeyError) as error:
        raise ValueError(f"The variables of the SLURM step are invalid: {error!r}") from error
    task = {"type": "worker", "index": int(os.environ["SLURM_PROCID"])}
    return {"cluster": {"worker": workers}, "task": task}


def _multi_worker(
    jobs: Jobs, job: str, index: int, timeout_seconds: float
) -> tf.distribute.Strategy:
    """A strategy over all workers, after all have started."""
    others = {
        f"{kind} {number} at {address}": address
        for kind, addresses in jobs.items()
        for number, address in enumerate(addresses)
        if (kind, number) != (job, index)
    }
    _wait_for_workers(f"{job} {index}", jobs[job][index], others, timeout_seconds)
    with compat.workers_use_all_devices():
        return tf.distribute.MultiWorkerMirroredStrategy()


def _wait_for_workers(
    name: str, address: str, others: Mapping[str, str], timeout_seconds: float
) -> None:
    """Waits until each worker's port answers. TensorFlow's own wait names no missing worker."""
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("", port))
        except OSError as error:
            raise ValueError(f"Port {port} of {name} is in use on this host.") from error
        server.listen(len(others) + 1)
        missing, deadline = dict(others), time.monotonic() + timeout_seconds
        while missing:
            missing = {other: at for other, at in missing.items() if not _accepts_connections(at)}
            if missing and time.monotonic() > deadline:
                raise TimeoutError(
                    f"After {timeout_seconds:g} s {name} still waits for {', '.join(missing)}."
                )
            time.sleep(0.1 if missing else 0)


def _accepts_connections(address: str) -> bool:
    """Whether a port accepts connections."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _tpu() -> tf.distribute.Strategy:
    """A strategy for the TPU of this machine or of TPU_NAME."""
    name = os.environ.get("TPU_NAME")
    if name is None and not tf.config.list_physical_devices("TPU"):
        raise ValueError("There is no TPU: TensorFlow finds none, and TPU_NAME is not set.")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or "local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"The TPU {name or 'of this machine'} cannot be used: {error}") from error
    return tf.distribute.TPUStrategy(resolver)
