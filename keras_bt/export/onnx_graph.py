"""Converts graphs of TensorFlow to ONNX, with what tf2onnx lacks for encoders."""

import logging
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bt._support.compat import frozen_graph

OPSET = 17


def convert(onnx: ModuleType, tf2onnx: ModuleType, function: Any) -> bytes:
    """Converts a function to the content of an ONNX file.

    `tf2onnx.convert.from_function` (1.17) does not suffice. It makes inputs of the tensors that
    a function refers to, such as the mean of `keras.layers.Normalization`. It does not convert
    functions compiled by XLA, such as Keras's grouped convolution, and the operation Erfc, which
    is in Keras's exact GELU.

    Args:
        onnx: The package.
        tf2onnx: The package.
        function: Concrete function from `inputs` to {"features"}.

    Returns:
        The file, with the same names.

    Raises:
        ValueError: If ONNX lacks operations. The message names all.
    """
    log = logging.getLogger("tf2onnx")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it prints a line for each operation that it cannot convert
    try:
        model, _ = tf2onnx.convert.from_function(
            _without_captures(function),
            [tf.TensorSpec.from_tensor(function.inputs[0], name="inputs")],
            opset=OPSET,
            custom_op_handlers={"Erfc": (_convert_erfc, [])},
        )
    finally:
        log.setLevel(level)
    # tf2onnx copies unknown operations without an error.
    operations = {node.op_type for node in model.graph.node if not node.domain}
    if unknown := sorted(name for name in operations if not onnx.defs.has(name)):
        raise ValueError(f"ONNX has no {', '.join(unknown)}.")
    return model.SerializeToString()


def _without_captures(function: Any) -> Any:
    """The function with constants for all tensors it captures, and no compiled functions."""
    graph = frozen_graph(function)
    captures = zip(function.inputs[1:], function.captured_inputs, strict=True)
    constants = {inner.op.name: outer for inner, outer in captures}
    for node in graph.node:
        if node.op == "Placeholder" and node.name in constants:
            value = constants[node.name]
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = value.dtype.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy(), value.dtype))
    nested = (node for called in graph.library.function for node in called.node_def)
    for node in [*graph.node, *nested]:
        node.attr.pop("_XlaMustCompile", None)  # such a call would not become part of the graph

    def plain(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        names = function.inputs[0].name, function.outputs[0].name
        (features,) = tf.graph_util.import_graph_def(graph, {names[0]: inputs}, [names[1]])
        return {"features": features}

    return tf.function(plain, autograph=False)


def _convert_erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replaces the node erfc(x) by 1 - erf(x)."""
    dtypes, shapes = [graph.get_dtype(node.output[0])], [graph.get_shape(node.output[0])]
    one = graph.make_const(f"{name}_one", np.ones([], "float32"))
    graph.remove_node(name)
    erf = graph.make_node("Erf", node.input, name=f"{name}_erf", dtypes=dtypes, shapes=shapes)
    terms = [one.output[0], erf.output[0]]
    graph.make_node("Sub", terms, name=name, outputs=node.output, dtypes=dtypes, shapes=shapes)
