"""oneDNN, the convolutions and matrix products of TensorFlow that are fast on CPUs."""

import logging
import os
import sys
from pathlib import Path

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# Where TensorFlow turns it on by itself: tensorflow/core/util/port.cc.
ON_BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
CPU_INFO = Path("/proc/cpuinfo")


def turn_on():
    """Has TensorFlow use oneDNN; where it is too late for that, says so.

    TensorFlow leaves it off on x86 processors without AVX-512's VNNI or BF16, where convolutions
    then run at half their speed. The variable is read once, when TensorFlow is imported; one that
    the user has set is left alone.

    Example:
        >>> turn_on()
    """
    if VARIABLE in os.environ:
        return
    if "tensorflow" not in sys.modules:
        os.environ[VARIABLE] = "1"
    elif off_by_itself(CPU_INFO.read_text() if CPU_INFO.exists() else ""):
        logging.getLogger("keras_bt").warning(
            "TensorFlow was imported without oneDNN, and convolutions on this CPU take up to twice "
            "as long: import keras_bt before keras and tensorflow, or set %s=1 (0 for no advice).",
            VARIABLE,
        )


def off_by_itself(cpu_info):
    """Whether TensorFlow on Linux uses oneDNN only if it is told to.

    Args:
        cpu_info: String, what /proc/cpuinfo holds.

    Returns:
        Bool; False where it is not an x86 processor.

    Example:
        >>> off_by_itself("flags : fpu avx avx2"), off_by_itself("flags : avx2 avx512_vnni")
        (True, False)
    """
    flags = next((line for line in cpu_info.splitlines() if line.startswith("flags")), "")
    return bool(flags) and not ON_BY_ITSELF & set(flags.split())
