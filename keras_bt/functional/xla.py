"""Where XLA and TensorFlow's own kernels want different code for the same numbers."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def compiled_by_xla():
    """Whether the code that asks is being traced for XLA, by `jit_compile=True` further out.

    Example:
        >>> compiled_by_xla(), tf.function(lambda: tf.constant(compiled_by_xla()))().numpy()
        (False, np.False_)
        >>> tf.function(lambda: tf.constant(compiled_by_xla()), jit_compile=True)().numpy()
        np.True_
    """
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
