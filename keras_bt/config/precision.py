"""`choose_precision`: bfloat16 or float32, by the devices of the current strategy."""

import itertools
import time
from collections.abc import Callable

import tensorflow as tf

from keras_bt._support.onednn import cpu_flags
from keras_bt.distribution import workers

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of CPUs that multiply in bfloat16
LEAST_COMPUTE_CAPABILITY = (8, 0)  # of GPUs that multiply in bfloat16
CLEARLY_FASTER = 0.9
MEASURED_SECONDS, STEP_SECONDS = 1.0, 0.05  # of all measured steps, and of one in float32
MOST_MEASURED = 64  # channels, and pixels a side: more take long and gain at least as much


def choose_precision(width: int, side: int, images: int) -> tuple[str, str]:
    """The faster precision of the networks on the devices of the current strategy.

    GPUs and TPUs are judged by their kind. A CPU with instructions for bfloat16 is measured,
    because small networks are slower in bfloat16. Every worker must call it.

    Args:
        width: Channels of the encoder's first stage.
        side: Height and width of that stage, in pixels.
        images: Number of views that a device passes through the networks at once.

    Returns:
        "mixed_bfloat16" or "float32", and the reason; on several workers the chief's.

    Example:
        >>> precision, reason = choose_precision(width=4, side=8, images=16)
        >>> precision in ("mixed_bfloat16", "float32")
        True
    """
    strategy, chosen = tf.distribute.get_strategy(), None
    if workers.is_chief(strategy):
        faster, reason = _judge_devices(width, side, images)
        chosen = "mixed_bfloat16" if faster else "float32", f"auto: {reason}"
    precision, reason = workers.gather_from_workers(strategy, chosen)[0]
    return precision, reason


def measure_bfloat16(width: int, side: int, images: int) -> float:
    """The time of a training step in bfloat16, divided by the time in float32, on the CPU.

    A step is forward and backward through eight 3x3 convolutions with batch norm and ReLU, as in
    four stages of a ResNet. Fewer images are measured where a step takes long.

    Args:
        width: See `choose_precision`.
        side: See `choose_precision`.
        images: See `choose_precision`.

    Example:
        >>> 0.0 < measure_bfloat16(width=4, side=8, images=16) < 100.0
        True
    """
    width, side = min(width, MOST_MEASURED), min(side, MOST_MEASURED)
    # No layers: in a strategy's scope their variables would be on all devices, and their draws
    # would change the weights of the run.
    with tf.device("CPU:0"):
        steps = [_timed_step(width, side, dtype) for dtype in (tf.float32, tf.bfloat16)]
        measured = min(images, 4)
        # The first of two steps also prepares kernels for this number of images.
        while min(steps[0](measured), steps[0](measured)) < STEP_SECONDS and measured < images:
            measured = min(images, 4 * measured)
        seconds: list[list[float]] = []
        end = time.perf_counter() + MEASURED_SECONDS
        while len(seconds) < 3 or time.perf_counter() < end:
            seconds.append([step(measured) for step in steps])  # in turns: other programs run too
    in_float32, in_bfloat16 = map(min, zip(*seconds, strict=True))
    return in_bfloat16 / in_float32


def _judge_devices(width: int, side: int, images: int) -> tuple[bool, str]:
    """Whether bfloat16 is faster, and the reason."""
    kind = _device_type()
    if kind == "TPU":
        return True, "TPUs multiply in bfloat16"
    if kind == "GPU":
        get_details = tf.config.experimental.get_device_details
        details = [get_details(gpu) for gpu in tf.config.get_visible_devices(kind)]
        least = min(each.get("compute_capability", (0, 0)) for each in details)
        if least >= LEAST_COMPUTE_CAPABILITY:
            return True, "the GPU multiplies in bfloat16 (compute capability 8.0 or above)"
        return False, "the GPU has no compute capability of 8.0 or above"
    if not BFLOAT16_FLAGS & cpu_flags():
        return False, "the CPU does not multiply in bfloat16 (neither avx512_bf16 nor amx_bf16)"
    share = measure_bfloat16(width, side, images)
    return share < CLEARLY_FASTER, (
        f"measured on this CPU, similar networks take {share:.2f} of the time in bfloat16"
    )


def _device_type() -> str:
    """CPU, GPU or TPU: what the current strategy trains on."""
    if tf.distribute.has_strategy():
        device = tf.distribute.get_strategy().extended.worker_devices[0]
        return tf.DeviceSpec.from_string(device).device_type
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


def _timed_step(width: int, side: int, dtype: tf.DType) -> Callable[[int], float]:
    """A function from a number of images to the seconds of a step on them."""
    channels = [width * 2**stage for stage in (0, 0, 0, 1, 1, 2, 2, 3, 3)]
    kernels = [
        tf.random.stateless_normal([3, 3, *pair], (0, 0), dtype=dtype)
        for pair in itertools.pairwise(channels)
    ]
    image = tf.random.stateless_normal([1, side, side, width], (0, 1), dtype=dtype)

    @tf.function(input_signature=[tf.TensorSpec([None, side, side, width], dtype)])
    def gradients(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            for kernel in kernels:
                before, after = kernel.shape[2:]
                y = tf.nn.conv2d(x, kernel, strides=after // before, padding="SAME")
                ones = tf.ones([after])
                y, *_ = tf.compat.v1.nn.fused_batch_norm(y, ones, 0 * ones, epsilon=1e-5)
                x = tf.nn.relu(y if after > before else x + y)
        return tape.gradient(x, kernels)

    def run(images: int) -> float:
        x = tf.repeat(image, images, axis=0)
        start = time.perf_counter()
        gradients(x)[0].numpy()
        return time.perf_counter() - start

    return run
