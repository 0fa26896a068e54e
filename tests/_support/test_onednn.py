"""The warning if oneDNN is off; `test_import.py` tests the order of imports."""

import logging
import os

import pytest

from keras_bt._support import onednn

AVX2, AVX512 = "flags\t\t: fpu avx avx2 fma\n", "flags\t\t: fpu avx avx2 avx512_vnni\n"


@pytest.mark.parametrize(
    ("cpu_info", "value", "lines"),
    [(AVX2, None, 1), (AVX512, None, 0), (AVX2, "0", 0), (AVX2, "1", 0), ("", None, 0)],
)
def test_warning_after_importing_tensorflow(cpu_info, value, lines, tmp_path, monkeypatch, caplog):
    (tmp_path / "cpuinfo").write_text(cpu_info)
    monkeypatch.setattr(onednn, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(onednn.VARIABLE, value)
    with caplog.at_level(logging.WARNING, "keras_bt"):
        onednn.turn_on()
    assert os.environ.get(onednn.VARIABLE) == value
    assert len(caplog.messages) == lines
    if lines:
        assert "import keras_bt before keras and tensorflow, or set" in caplog.text


def test_no_warning_without_cpu_info(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(onednn, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    onednn.turn_on()
    assert not caplog.messages
