"""Strategies by name: one device, several of them, several machines, a TPU."""

import difflib
import itertools
import json
import os
import re
import socket
import time

import tensorflow as tf

from keras_bt._support import compat

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")
SLURM_PORTS = range(12_000, 28_000)  # below the ports that systems hand out themselves


def strategy(name="auto", devices=None, timeout_seconds=600):
    """A `tf.distribute` strategy by name. To be made before anything else of TensorFlow.

    Args:
        name: "one": a single device. "mirrored": all devices of this process.
            "multi_worker": all devices of all processes that TF_CONFIG or SLURM name. "tpu":
            the TPU of this machine, or the one that TPU_NAME names. "auto": what there is.
        devices: None for those the machine has, "cpu:4" for the CPU split into four, "gpu:2"
            for the first two GPUs of each process.
        timeout_seconds: Float. How long to wait for all workers to arrive.

    Returns:
        `tf.distribute.Strategy`; models are made and compiled in its `scope()`.

    Raises:
        ValueError: If there is no such strategy, or not here.
        TimeoutError: If a worker did not arrive; names it.

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
            "multi_worker needs several workers, named by TF_CONFIG or a SLURM step; "
            "`keras-bt launch --workers=2 -- ...` starts some on this machine."
        )
    if cluster is not None:
        jobs, job, index = cluster
        return _multi_worker(jobs, job, index, timeout_seconds)
    if name == "tpu" or (name == "auto" and tf.config.list_physical_devices("TPU")):
        return _tpu()
    local = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "one" or (name == "auto" and len(local) == 1):
        return tf.distribute.get_strategy()
    # TensorFlow's default, rings, cannot run several steps in one execution on a CPU.
    on_cpu = tf.distribute.ReductionToOneDevice() if local[0].device_type == "CPU" else None
    return tf.distribute.MirroredStrategy([d.name for d in local], cross_device_ops=on_cpu)


def distribute_batches(strategy, make):
    """What `fit` takes under a strategy, each worker reading its own part.

    Args:
        strategy: `tf.distribute.Strategy`.
        make: From a `tf.distribute.InputContext` (None on a single replica) to a
            `tf.data.Dataset`, as `data.Images.shuffled_batches`.

    Returns:
        `tf.data.Dataset` or `tf.distribute.DistributedDataset`.

    Example:
        >>> one = tf.distribute.get_strategy()
        >>> batches = distribute_batches(one, lambda context: tf.data.Dataset.range(3))
        >>> int(batches.cardinality())
        3
    """
    if strategy.num_replicas_in_sync == 1:
        return make(None)
    return strategy.distribute_datasets_from_function(make)


def _check_name(name):
    if name in STRATEGIES:
        return
    if "param" in name or name == "ps":
        raise ValueError(
            "Parameter servers train out of step: there is no global batch, which the loss "
            "needs. Use 'mirrored' or 'multi_worker'."
        )
    nearest = difflib.get_close_matches(name, STRATEGIES, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"There is no strategy {name!r}{hint} There are {', '.join(STRATEGIES)}.")


def _set_devices(devices):
    match = re.fullmatch(r"(cpu|gpu):([1-9]\d*)", devices)
    if match is None:
        raise ValueError(f"devices must be like 'cpu:4' or 'gpu:2', got {devices!r}.")
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
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        raise ValueError(
            f"devices={devices!r} has to be set before anything else of TensorFlow is used."
        ) from error


def _cluster():
    """(addresses by job, own job, own index) if the environment names several workers."""
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
            f"TF_CONFIG names the jobs {sorted(jobs)}; all have to be chief or worker, in step."
        )
    return jobs, task["type"], task["index"]


def _slurm_tasks():
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) if "SLURM_PROCID" in os.environ else 1


def _tf_config_of_slurm():
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
        raise ValueError(f"SLURM's step cannot be read: {error!r}") from error
    task = {"type": "worker", "index": int(os.environ["SLURM_PROCID"])}
    return {"cluster": {"worker": workers}, "task": task}


def _multi_worker(jobs, job, index, timeout_seconds):
    others = {
        f"{kind} {number} at {address}": address
        for kind, addresses in jobs.items()
        for number, address in enumerate(addresses)
        if (kind, number) != (job, index)
    }
    _meet(f"{job} {index}", jobs[job][index], others, timeout_seconds)

    with compat.workers_use_all_devices():
        return tf.distribute.MultiWorkerMirroredStrategy()


def _meet(name, address, others, timeout_seconds):
    """Waits until each worker's port answers, so that one that never comes can be named."""
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("", port))
        except OSError as error:
            raise ValueError(f"Port {port}, which is {name}'s, is in use on this host.") from error
        door.listen(len(others) + 1)
        missing, deadline = dict(others), time.monotonic() + timeout_seconds
        while missing:
            missing = {who: where for who, where in missing.items() if not _answers(where)}
            if missing and time.monotonic() > deadline:
                raise TimeoutError(
                    f"After {timeout_seconds:g} s {name} still waits for {', '.join(missing)}."
                )
            time.sleep(0.1 if missing else 0)


def _answers(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _tpu():
    name = os.environ.get("TPU_NAME")
    if name is None and not tf.config.list_physical_devices("TPU"):
        raise ValueError("There is no TPU: TensorFlow sees none here, and TPU_NAME is not set.")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or "local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"The TPU {name or 'of this machine'} cannot be used: {error}") from error
    return tf.distribute.TPUStrategy(resolver)
