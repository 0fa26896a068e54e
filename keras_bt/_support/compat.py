"""Every use of private TensorFlow and Keras API, with its version and its reason.

Measured with TensorFlow 2.21 and Keras 3.15. Read this file before another version is allowed.

Methods of Keras that subclasses override stay in their classes:

    Model._maybe_symbolic_build         model/distributed.py: Keras reduces a batch that lies on
                                        several workers
    Model._compile_loss, _loss_tracker  model/barlow_twins.py: the step computes the loss itself
    BatchNormalization._moments         layers/batch_norm.py: moments of the global batch
    Optimizer._apply_weight_decay,      model/optimizers.py: LARS decays inside the adapted
    _use_weight_decay,                  direction, and updates a weight in one kernel
    _get_variable_index
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import tensorflow as tf
from keras.src.models.functional import Functional
from keras.src.saving.serialization_lib import in_safe_mode
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context, record
from tensorflow.python.ops import control_flow_util

__all__ = ["Functional", "in_safe_mode"]


def compiled_by_xla() -> bool:
    """Whether the calling code is being traced for XLA, by `jit_compile=True` further out.

    TensorFlow 2.21 has no public test.

    Example:
        >>> compiled_by_xla(), tf.function(lambda: tf.constant(compiled_by_xla()))().numpy()
        (False, np.False_)
        >>> tf.function(lambda: tf.constant(compiled_by_xla()), jit_compile=True)().numpy()
        np.True_
    """
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def custom_gradient(function: Callable) -> Callable:
    """`tf.custom_gradient` without its search for variables.

    The search of TensorFlow 2.21 walks from the outputs back to the inputs. Sums over replicas
    lead it into the graphs of all replicas, at every call, and tracing a step takes minutes
    instead of seconds.

    Args:
        function: Returns outputs, and a function from their gradients to those of the inputs.
    """

    def with_gradient(*inputs):
        with record.stop_recording():
            outputs, gradient = function(*inputs)
            outputs = tf.nest.map_structure(tf.identity, outputs)

        def gradients(*upstream):
            return tf.nest.flatten(gradient(*upstream))

        record.record_operation("keras_bt", tf.nest.flatten(outputs), list(inputs), gradients)
        return outputs

    return with_gradient


def replicas_merge() -> bool:
    """Whether replicas have to leave their own code to sum, by `merge_call`.

    They then cannot sum inside a condition or a loop. TensorFlow 2.21 has no public test.
    """
    return not tf.__internal__.distribute.strategy_supports_no_merge_call()


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy has several processes.

    The same test as Keras 3.15's (keras/src/backend/tensorflow/trainer.py), so that both agree.

    Example:
        >>> has_workers(tf.distribute.get_strategy())
        False
    """
    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.extended._in_multi_worker_mode()
    )


def wait_at_barrier(name: str, timeout_seconds: float) -> None:
    """Waits until all workers are here, by TensorFlow's coordination service.

    A collective operation is not enough: the last one may still be on its way to other workers.
    """
    context.context().wait_at_barrier(name, int(1000 * timeout_seconds))


def slurm_hosts_and_tasks(hosts: str, tasks: str) -> Iterator[tuple[str, int]]:
    """Each host of a SLURM step with the number of its tasks, in the order of SLURM's list.

    TensorFlow 2.21's own resolver sorts hosts by name (n10 before n2) and moves tasks away from
    the GPUs that SLURM gave them, so only its parsers are used.

    Args:
        hosts: SLURM_STEP_NODELIST.
        tasks: SLURM_STEP_TASKS_PER_NODE.
    """
    return zip(
        slurm_cluster_resolver.expand_hostlist(hosts),
        slurm_cluster_resolver.expand_tasks_per_node(tasks),
        strict=True,
    )


@contextlib.contextmanager
def workers_use_all_devices() -> Iterator[None]:
    """A MultiWorkerMirroredStrategy made inside the block uses all parts of a split CPU.

    TensorFlow 2.21 takes all GPUs of a worker but only one part of its CPU.
    """

    def all_local(extended, resolver, worker_device):
        kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
        parts = [
            part
            for device in tf.config.get_visible_devices(kind)
            for part in tf.config.get_logical_device_configuration(device) or [device]
        ]
        return tuple(f"{worker_device}/device:{kind}:{i}" for i in range(len(parts))), kind

    with mock.patch.object(CollectiveAllReduceExtended, "_initialize_local_devices", all_local):
        yield


def flatten_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The model itself and every layer inside, nested ones included.

    `Model.layers` of Keras 3.15 does not look into nested models.
    """
    return list(model._flatten_layers())


def functional_of_sequential(model: keras.Sequential) -> Functional:
    """The functional model that Keras 3.15 builds for a `Sequential`."""
    return model._functional


def nodes_in_order(model: Functional) -> list[Any]:
    """The calls of layers in a functional model, first to last."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth]]


def first_input_shape(model: keras.layers.Layer) -> Any:
    """The shape that a subclassed model was first called with, or None."""
    return (model._build_shapes_dict or {}).get("input_shape")


def takes_training(layer: keras.layers.Layer) -> bool:
    """Whether `layer.call` has a `training` argument; keras-cv's augmentations have none."""
    return layer._call_has_training_arg


def trackable() -> Any:
    """An empty object for `tf.saved_model.save`.

    `tf.Module` does not do: its `variables` are read-only. `tf.train.Checkpoint` would add a
    counter to the weights.
    """
    return tf.__internal__.tracking.AutoTrackable()


def share_variable(variable: keras.Variable, value: tf.Variable) -> None:
    """Makes a Keras 3.15 variable a view of a TensorFlow variable that exists already."""
    variable._value = value


def clip_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Gradients clipped as the optimizer's settings say; Keras 3.15 clips by replica."""
    return optimizer._clip_gradients(gradients)
