"""Every use of private TensorFlow and Keras API, with version and reason.

Tested with TensorFlow 2.21 and Keras 3.15. Review this file before allowing another version.

Overrides of private Keras methods stay in their classes:

    Model._maybe_symbolic_build         model/distributed.py: Keras's own fails on a batch that is
                                        distributed over several workers
    Model._compile_loss, _loss_tracker, model/barlow_twins.py: the step computes the loss itself;
    evaluate(_use_cached_eval_dataset)  `fit` passes it to `evaluate`, with data checked before
    BatchNormalization._moments,        layers/batch_norm.py: moments of the global batch
    _reduction_axes
    Optimizer._apply_weight_decay,      model/optimizers.py: LARS applies weight decay inside the
    _use_weight_decay,                  adapted direction. model/adamw.py: a weight decays where it
    _get_variable_index,                is updated. Both update a weight in one kernel
    AdamW._momentums, _velocities
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional
from keras.src.saving.serialization_lib import in_safe_mode
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context, record
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.ops import control_flow_util

# Keras 3.15 exports neither: the class of models with a graph of layers (all of whose layers can
# be found), and whether a file is loaded that must not run code.
__all__ = ["Functional", "in_safe_mode"]


def compiled_by_xla() -> bool:
    """Whether the calling code is being traced for XLA, at any depth of a `jit_compile=True`.

    TensorFlow 2.21 has no public way to ask.

    Example:
        >>> compiled_by_xla(), tf.function(lambda: tf.constant(compiled_by_xla()))().numpy()
        (False, np.False_)
        >>> tf.function(lambda: tf.constant(compiled_by_xla()), jit_compile=True)().numpy()
        np.True_
    """
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def computed_once(tensor: tf.Tensor) -> tf.Tensor:
    """Prevents XLA from computing a tensor again inside the code that uses it.

    Call it in code compiled by XLA only. TensorFlow 2.21 has no public barrier.
    """
    return xla_optimization_barrier([tensor])[0]


def custom_gradient(function: Callable) -> Callable:
    """`tf.custom_gradient` without its search for variables.

    TensorFlow 2.21 searches the graph from the outputs back to the inputs. With sums over
    replicas, each call searches the graphs of all replicas. Tracing a step then takes minutes
    instead of seconds.

    Args:
        function: Returns outputs, and a function from output gradients to input gradients.

    Returns:
        A function of the same inputs that returns the outputs.
    """

    def with_gradient(*inputs: tf.Tensor) -> Any:
        with record.stop_recording():
            outputs, gradient = function(*inputs)
            outputs = tf.nest.map_structure(tf.identity, outputs)

        def gradients(*upstream: tf.Tensor) -> list[tf.Tensor]:
            return tf.nest.flatten(gradient(*upstream))

        record.record_operation("keras_bt", tf.nest.flatten(outputs), list(inputs), gradients)
        return outputs

    return with_gradient


def replicas_merge() -> bool:
    """Whether replicas sum by `merge_call`, which fails inside a condition or a loop.

    TensorFlow 2.21 has no public way to ask.
    """
    return not tf.__internal__.distribute.strategy_supports_no_merge_call()


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy has several processes.

    The same condition as in Keras 3.15 (keras/src/backend/tensorflow/trainer.py).

    Example:
        >>> has_workers(tf.distribute.get_strategy())
        False
    """
    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.extended._in_multi_worker_mode()
    )


def strategy_of_model(model: keras.Model) -> tf.distribute.Strategy | None:
    """The strategy in whose scope a Keras 3.15 model was made; None outside any scope.

    `Model.distribute_strategy` is the current one for a model that was made outside.
    """
    return model._distribute_strategy


def is_variable_of(variable: keras.Variable, strategy: tf.distribute.Strategy | None) -> bool:
    """Whether a built variable was made in the scope of a strategy, or outside any (None)."""
    # TensorFlow 2.21: a variable of `OneDeviceStrategy` has no public attribute for it.
    return variable.value._distribute_strategy is strategy


def saves_as_hdf5() -> bool:
    """Whether Keras 3.15 is saving or loading a model in its old format, .h5.

    `BarlowTwins` refuses that format.
    """
    return bool(global_state.get_global_attribute("use_legacy_config"))


def wait_at_barrier(name: str, timeout_seconds: float) -> None:
    """Waits for all workers, by TensorFlow's coordination service.

    A collective operation does not suffice: a worker can finish it before the others do.

    Args:
        name: The barrier. Each name works once.
        timeout_seconds: How long to wait.

    Raises:
        tf.errors.OpError: If a worker does not reach the barrier in time.
    """
    context.context().wait_at_barrier(name, int(1000 * timeout_seconds))


def slurm_hosts_and_tasks(hosts: str, tasks: str) -> Iterator[tuple[str, int]]:
    """The hosts of a SLURM step with their numbers of tasks, in SLURM's order.

    Only the parsers of TensorFlow 2.21 are used. Its resolver sorts hosts by name (n10 before
    n2) and ignores which GPUs SLURM assigned.

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
    """Makes MultiWorkerMirroredStrategy use all logical CPUs of a worker inside the block.

    TensorFlow 2.21 uses all GPUs of a worker, but only one logical CPU.
    """

    def all_local(
        extended: CollectiveAllReduceExtended, resolver: Any, worker_device: str
    ) -> tuple[tuple[str, ...], str]:
        kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
        logical_devices = [
            logical
            for device in tf.config.get_visible_devices(kind)
            for logical in tf.config.get_logical_device_configuration(device) or [device]
        ]
        names = [f"{worker_device}/device:{kind}:{i}" for i in range(len(logical_devices))]
        return tuple(names), kind

    with mock.patch.object(CollectiveAllReduceExtended, "_initialize_local_devices", all_local):
        yield


def flatten_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The model and all layers inside it, those of nested models included.

    `Model.layers` of Keras 3.15 leaves out the layers of nested models.
    """
    return list(model._flatten_layers())


def functional_of_sequential(model: keras.Sequential) -> Functional:
    """The functional model that Keras 3.15 builds for a `Sequential`, to go through its calls."""
    return model._functional


def nodes_in_order(model: Functional) -> list[Any]:
    """The layer calls of a functional model, first to last; Keras 3.15 shows only the layers."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth]]


def first_input_shape(model: keras.layers.Layer) -> Any:
    """The input shape of a subclassed Keras 3.15 model's first call, or None.

    Such a model has no public `input_shape`.
    """
    return (model._build_shapes_dict or {}).get("input_shape")


def elements_and_batch_size(dataset: tf.data.Dataset) -> tuple[int, int] | None:
    """The number of elements that a dataset batches, and its batch size; None if unknown.

    TensorFlow 2.21 has no public way to ask. Stages between `batch` and the end of the pipeline
    are ignored if they keep the number of batches. Unknown with `drop_remainder=True`.

    Example:
        >>> elements_and_batch_size(tf.data.Dataset.range(16).batch(5).prefetch(1))
        (16, 5)
    """
    batches = dataset.cardinality()
    while batches > 0 and dataset.cardinality() == batches:
        inputs = dataset._inputs()
        if hasattr(dataset, "_batch_size") and not dataset._drop_remainder:
            elements = int(inputs[0].cardinality())
            return (elements, int(dataset._batch_size)) if elements > 0 else None
        if not inputs:
            break
        dataset = inputs[0]
    return None


def takes_training(layer: keras.layers.Layer) -> bool:
    """Whether `layer.call` has a `training` argument; keras-cv 0.9's augmentations have none."""
    return layer._call_has_training_arg


def trackable() -> Any:
    """An empty object for `tf.saved_model.save`.

    The public classes of TensorFlow 2.21 do not fit. `tf.Module` fails: its `variables` are
    read-only. `tf.train.Checkpoint` adds a counter to the weights.
    """
    return tf.__internal__.tracking.AutoTrackable()


def frozen_graph(function: Any) -> tf.compat.v1.GraphDef:
    """The graph of a concrete function, with its variables as constants.

    TensorFlow 2.21 has no public way to freeze a function. Control flow stays as it is, and
    functions that are called become part of the graph, except those compiled by XLA.
    """
    frozen = convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    return frozen.graph.as_graph_def(add_shapes=True)


def share_variable(variable: keras.Variable, value: tf.Variable) -> None:
    """Makes a Keras 3.15 variable use an existing TensorFlow variable.

    So the layers of a reloaded SavedModel train the SavedModel's own variables.
    """
    variable._value = value


def clip_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Clips gradients by the optimizer's settings; Keras 3.15 itself clips on each replica."""
    return optimizer._clip_gradients(gradients)
