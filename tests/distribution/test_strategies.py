"""Strategies by name, and errors where there is none."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

import keras_bt
from keras_bt.distribution import strategies, workers

SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "n[2,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment without a cluster; changes by a test are undone."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("TF_CONFIG", "TPU_NAME", "SLURM_PROCID"):
        os.environ.pop(name, None)
    return os.environ


def tf_config(workers, index=0, **jobs):
    return json.dumps(
        {"cluster": {"worker": workers, **jobs}, "task": {"type": "worker", "index": index}}
    )


@pytest.mark.parametrize("name", ["one", "auto"])
def test_one_device_has_the_default_strategy(name):
    assert keras_bt.strategy(name) is tf.distribute.get_strategy()
    assert workers.is_chief(keras_bt.strategy(name))


def test_cluster_of_one_worker_has_the_default_strategy(environment):
    environment["TF_CONFIG"] = tf_config(["127.0.0.1:9000"])
    assert keras_bt.strategy("auto").num_replicas_in_sync == 1


def test_mirrored_uses_the_devices_of_this_process():
    assert isinstance(keras_bt.strategy("mirrored"), tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mirored",), "no strategy 'mirored'; did you mean 'mirrored'"),
        (("parameter_server",), "Parameter servers have no global batch"),
        (("tpu",), "There is no TPU"),
        (("multi_worker",), "multi_worker needs several workers in TF_CONFIG or in a SLURM"),
        (("one", "cpu"), "devices must be 'cpu:N' or 'gpu:N', such as 'cpu:4', got 'cpu'"),
        (("one", "gpu:2"), "devices is 'gpu:2', but this machine has 0 GPUs"),
    ],
)
def test_unavailable_strategy_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_bt.strategy(*arguments)


def test_devices_must_be_set_before_tensorflow_is_used():
    tf.constant(0) + 1
    with pytest.raises(ValueError, match="devices='cpu:3' must be set before any other use"):
        keras_bt.strategy("mirrored", devices="cpu:3")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "TF_CONFIG must be like .*got {"),
        (tf_config(["a:1", "b:1"], index=2), "TF_CONFIG must be like"),
        (tf_config(["a", "b:1"]), "TF_CONFIG must be like"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}), "TF_CONFIG must be like"),
        (tf_config(["a:1", "b:1"], ps=["c:1"]), r"has the jobs \['ps', 'worker'\]"),
    ],
)
def test_wrong_tf_config_is_refused(environment, value, message):
    environment["TF_CONFIG"] = value
    with pytest.raises(ValueError, match=message):
        keras_bt.strategy()


def test_slurm_step_is_a_cluster(environment):
    environment.update(SLURM, CUDA_VISIBLE_DEVICES="5")
    jobs, job, index = strategies._cluster()
    port = 12_000 + 71
    assert jobs == {"worker": [f"n2:{port}", f"n2:{port + 1}", f"n10:{port}"]}  # SLURM's order
    assert (job, index) == ("worker", 2)
    assert json.loads(environment["TF_CONFIG"])["cluster"] == jobs
    assert environment["CUDA_VISIBLE_DEVICES"] == "5"  # as SLURM assigned them


def test_invalid_slurm_step_is_named(environment):
    for broken in ({"SLURM_STEP_TASKS_PER_NODE": "2"}, {"SLURM_STEP_TASKS_PER_NODE": "two,1"}):
        environment.update(SLURM, **broken)
        with pytest.raises(ValueError, match="variables of the SLURM step are invalid"):
            strategies._cluster()
    del environment["SLURM_STEP_NODELIST"]
    with pytest.raises(ValueError, match="variables of the SLURM step are invalid"):
        strategies._cluster()


@pytest.fixture
def two_ports():
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0)), second.bind(("127.0.0.1", 0))
        ports = first.getsockname()[1], second.getsockname()[1]
    return [f"127.0.0.1:{port}" for port in ports]


def test_port_in_use_is_named(environment, two_ports):
    environment["TF_CONFIG"] = tf_config(two_ports, index=1)
    port = int(two_ports[1].split(":")[1])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ValueError, match=f"Port {port} of worker 1 is in use"):
            keras_bt.strategy()


def test_missing_worker_is_named(environment, two_ports):
    environment["TF_CONFIG"] = tf_config(two_ports)
    missing = f"After 0.5 s worker 0 still waits for worker 1 at {two_ports[1]}."
    with pytest.raises(TimeoutError, match=missing):
        keras_bt.strategy(timeout_seconds=0.5)


def test_workers_wait_for_each_other(two_ports):
    servers = []

    def wait(own, other):
        strategies._wait_for_workers(str(own), two_ports[own], {"other": two_ports[other]}, 60)
        # TensorFlow opens the port next, and the other worker may still be connecting.
        server = socket.create_server(("", int(two_ports[own].split(":")[1])))
        servers.append(server)

    threads = [threading.Thread(target=wait, args=pair) for pair in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(servers) == 2
    for server in servers:
        server.close()


@pytest.mark.slow
def test_devices_can_be_set_after_importing_the_package():
    code = "import keras_bt; print(keras_bt.strategy(devices='cpu:3').num_replicas_in_sync)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "3", done.stderr
