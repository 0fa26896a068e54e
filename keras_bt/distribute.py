"""Strategies by name: one device, several, several machines; and what workers agree on."""

import difflib
import functools
import itertools
import json
import os
import re
import socket
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context

from keras_bt.distributed_model import has_workers

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")
A_WEEK = 7.0 * 24 * 3600
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
            "`python -m keras_bt.launch --workers=2 -- ...` starts some on this machine."
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


def is_chief(strategy):
    """Whether this process is the one that writes.

    Args:
        strategy: `tf.distribute.Strategy`.

    Returns:
        Bool: true for one process of a strategy, the first worker.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    return _worker_index(strategy) == 0


def batches(strategy, make):
    """What `fit` takes under a strategy, each worker reading its own part.

    Args:
        strategy: `tf.distribute.Strategy`.
        make: From a `tf.distribute.InputContext` (None on a single replica) to a
            `tf.data.Dataset`, as `data.Images.shuffled_batches`.

    Returns:
        `tf.data.Dataset` or `tf.distribute.DistributedDataset`.

    Example:
        >>> one = tf.distribute.get_strategy()
        >>> batches(one, lambda context: tf.data.Dataset.range(3)).cardinality().numpy().item()
        3
    """
    if strategy.num_replicas_in_sync == 1:
        return make(None)
    return strategy.distribute_datasets_from_function(make)


def collect(strategy, value):
    """What each worker has, on all of them; waits for all of them to come here.

    Args:
        strategy: `tf.distribute.Strategy`.
        value: What JSON can hold.

    Returns:
        List of each worker's value, the chief's first.

    Example:
        >>> collect(tf.distribute.get_strategy(), {"seed": 3})
        [{'seed': 3}]
    """
    if not has_workers(strategy):
        return [json.loads(json.dumps(value))]
    gather = _gather_rows(strategy)
    written = np.frombuffer(json.dumps(value).encode(), "uint8").astype("int32")
    lengths = gather(tf.constant([[len(written)]])).numpy()[:, 0]
    padded = np.zeros([1, lengths.max()], "int32")
    padded[0, : len(written)] = written
    rows = gather(tf.constant(padded)).numpy().astype("uint8")
    per_worker = len(strategy.extended.worker_devices)
    return [
        json.loads(row[:length].tobytes())
        for row, length in zip(rows[::per_worker], lengths[::per_worker], strict=True)
    ]


@functools.lru_cache
def _gather_rows(strategy):
    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def gather(row):
        def gather_in_replica():
            on_device = tf.identity(row)  # where the argument has no device yet
            return tf.distribute.get_replica_context().all_gather(on_device, axis=0)

        gathered = strategy.run(gather_in_replica)
        return strategy.experimental_local_results(gathered)[0]

    return gather


def together(strategy, act):
    """Does something on all workers, or fails on all of them alike.

    Args:
        strategy: `tf.distribute.Strategy`.
        act: Function without arguments, in which no worker waits for another.

    Returns:
        What `act` returns on this worker.

    Raises:
        ValueError: If it raised a ValueError or OSError on any, with the first one's message.

    Example:
        >>> together(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    done, problem = None, None
    try:
        done = act()
    except (ValueError, OSError) as error:
        problem = str(error)
    for told in collect(strategy, problem):
        if told is not None:
            raise ValueError(told)
    return done


def chief_first(strategy, act):
    """`together`, the others after the chief: for what they find done then, as downloads.

    Args:
        strategy: `tf.distribute.Strategy`.
        act: See `together`.

    Returns:
        What `act` returns on this worker.

    Example:
        >>> chief_first(tf.distribute.get_strategy(), lambda: 3)
        3
    """
    chief = is_chief(strategy)
    done = together(strategy, act if chief else lambda: None)
    return together(strategy, lambda: done if chief else act())


def leave_together(strategy, timeout_seconds=A_WEEK):
    """Waits until all workers are done. A script's last act: who leaves early fells the others.

    Args:
        strategy: `tf.distribute.Strategy`.
        timeout_seconds: Float. Long, for the chief may have much to evaluate.

    Raises:
        tf.errors.OpError: If a worker did not come.

    Example:
        >>> leave_together(tf.distribute.get_strategy())
    """
    if has_workers(strategy):
        # By the coordination service: what is collected last may still be on its way to others.
        context.context().wait_at_barrier("keras_bt leaves", int(1000 * timeout_seconds))


def check_agreement(strategy, settings):
    """Refuses workers that were started with other settings than the chief.

    Args:
        strategy: `tf.distribute.Strategy`.
        settings: Dict that JSON can hold.

    Raises:
        ValueError: On every worker alike, naming who differs in what.

    Example:
        >>> check_agreement(tf.distribute.get_strategy(), {"seed": 3})
    """
    of_chief, *of_others = collect(strategy, settings)
    differing = [
        f"{name}: {of_chief.get(name)!r} on worker 0, {other.get(name)!r} on worker {index}"
        for index, other in enumerate(of_others, start=1)
        for name in sorted(of_chief.keys() | other.keys())
        if of_chief.get(name) != other.get(name)
    ]
    if differing:
        raise ValueError("The workers were started differently.\n  " + "\n  ".join(differing))


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
    # By TensorFlow's parser but not its resolver, which sorts hosts by name while SLURM counts
    # tasks in the order of its list, and moves tasks away from GPUs that SLURM gave them.
    port = SLURM_PORTS[int(os.environ.get("SLURM_JOB_ID", 0)) % len(SLURM_PORTS)]
    try:
        hosts = slurm_cluster_resolver.expand_hostlist(os.environ["SLURM_STEP_NODELIST"])
        tasks = slurm_cluster_resolver.expand_tasks_per_node(
            os.environ["SLURM_STEP_TASKS_PER_NODE"]
        )
        workers = [
            f"{host}:{port + task}"
            for host, count in zip(hosts, tasks, strict=True)
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

    def all_local(extended, resolver, worker_device):
        # TensorFlow takes all of a worker's GPUs but only one of its CPU's parts.
        kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
        parts = [
            part
            for device in tf.config.get_visible_devices(kind)
            for part in tf.config.get_logical_device_configuration(device) or [device]
        ]
        return tuple(f"{worker_device}/device:{kind}:{i}" for i in range(len(parts))), kind

    with mock.patch.object(CollectiveAllReduceExtended, "_initialize_local_devices", all_local):
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


def _worker_index(strategy):
    if not has_workers(strategy):
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
