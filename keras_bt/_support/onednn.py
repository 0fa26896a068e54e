"""Enables oneDNN: TensorFlow's fast convolutions and matrix products on CPUs."""

import logging
import os
import sys
from pathlib import Path

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# TensorFlow enables oneDNN on CPUs with one of these: tensorflow/core/util/port.cc.
ENABLED_BY_DEFAULT = {
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
}
CPU_INFO = Path("/proc/cpuinfo")


def turn_on() -> None:
    """Enables oneDNN, or logs a warning if TensorFlow is already imported without it.

    TensorFlow leaves oneDNN off on x86 CPUs without AVX-512 VNNI or BF16. Convolutions are then
    half as fast. It reads the environment variable once, at its import. A value that the user
    has set stays.
    """
    if VARIABLE in os.environ:
        return
    if "tensorflow" not in sys.modules:
        os.environ[VARIABLE] = "1"
    elif off_by_default(cpu_flags()):
        logging.getLogger("keras_bt").warning(
            "TensorFlow was imported without oneDNN, and convolutions on this CPU take up to twice "
            "as long: import keras_bt before keras and tensorflow, or set %s=1 (0 silences this "
            "warning).",
            VARIABLE,
        )


def cpu_flags() -> set[str]:
    """The names of this CPU's instruction sets, on Linux; empty on other systems and CPUs."""
    cpu_info = CPU_INFO.read_text() if CPU_INFO.exists() else ""
    flags = next((line for line in cpu_info.splitlines() if line.startswith("flags")), "")
    return set(flags.split())


def off_by_default(flags: set[str]) -> bool:
    """Whether TensorFlow on Linux leaves oneDNN off unless the variable is set.

    Args:
        flags: From `cpu_flags`.

    Returns:
        False also if the CPU is not an x86 CPU.

    Example:
        >>> off_by_default({"avx", "avx2"}), off_by_default({"avx2", "avx512_vnni"})
        (True, False)
    """
    return bool(flags) and not ENABLED_BY_DEFAULT & flags
