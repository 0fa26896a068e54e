"""Reads files of `torch.save` without PyTorch and without running code in them.

Such a file holds a pickle and the raw bytes of its tensors. Since PyTorch 1.6 it is a zip archive;
before that, the pickle and the bytes followed each other.
"""

import contextlib
import io
import pickle
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_bt._support.errors import first_line
from keras_bt.encoders.torch_pickle import Storage, read_pickle

OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
OLD_START = pickle.dumps(OLD_MAGIC, protocol=2)
# The pickle of a ResNet-101 with its optimizer has 0.2 MB. A hostile one can take 200 times its
# size in memory.
MAX_PICKLE_BYTES = 4 * 2**20


def read_torch_file(path: str | PathLike[str]) -> Any:
    """Reads a file of `torch.save`, with tensors as `StoredTensor`.

    Args:
        path: Path of the file.

    Returns:
        See `read_pickle`.

    Raises:
        ValueError: If the file is damaged, was not written by `torch.save`, or holds anything
            but tensors, containers, numbers and strings.
        OSError: If the file cannot be opened.

    Example:
        >>> _ = Path("notes.pth").write_text("no weights")
        >>> read_torch_file("notes.pth")
        Traceback (most recent call last):
            ...
        ValueError: notes.pth was not written by torch.save.

    Source: pytorch/pytorch torch/serialization.py@v2.14, `_save` and `_legacy_load`.
        Differs from source: reads a tensor when it is needed; ignores devices.
    """
    path = Path(path).expanduser()
    with path.open("rb") as file:
        old = file.read(len(OLD_START)) == OLD_START
    if not old and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} was not written by torch.save.")
    with _errors_with_path(path):
        return _read_old(path) if old else _read_zip(path)


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        _check(len(pickles) == 1, "it is a zip archive that torch.save did not write")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            _check(_entry(archive, f"{folder}byteorder") == b"little", "its bytes are big-endian")

        def storage(key: str, dtype: np.dtype, length: int) -> Storage:
            size_bytes = archive.getinfo(f"{folder}data/{key}").file_size
            _check(size_bytes == length * dtype.itemsize, "a storage has the wrong size")

            def read() -> np.ndarray:
                with _errors_with_path(path), zipfile.ZipFile(path) as archive:
                    values = np.frombuffer(_entry(archive, f"{folder}data/{key}"), dtype)
                    _check(len(values) == length, "a storage is cut off")
                    return values

            return Storage(length, read)

        size_bytes = archive.getinfo(pickles[0]).file_size
        _check(size_bytes <= MAX_PICKLE_BYTES, f"its pickle is too large ({size_bytes} bytes)")
        return read_pickle(io.BytesIO(_entry(archive, pickles[0])), storage)


def _read_old(path: Path) -> Any:
    size_bytes = path.stat().st_size
    expected: dict[str, tuple[int, int]] = {}  # length and bytes of each storage
    places: dict[str, int] = {}

    def storage(key: str, dtype: np.dtype, length: int) -> Storage:
        expected[key] = length, length * dtype.itemsize
        _check(expected[key][1] <= size_bytes, "a storage is cut off")

        def read() -> np.ndarray:
            with _errors_with_path(path), path.open("rb") as file:
                file.seek(places[key])
                values = np.frombuffer(file.read(length * dtype.itemsize), dtype)
                _check(len(values) == length, "a storage is cut off")
                return values

        return Storage(length, read)

    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        _, protocol, system = (read_pickle(pickles, storage) for _ in range(3))
        supported = protocol == OLD_PROTOCOL and system["little_endian"]
        _check(supported, "its format is unknown or big-endian")
        content, keys = (read_pickle(pickles, storage) for _ in range(2))
        file.seek(pickles.tell())
        for key in keys:
            _check(type(key) is str and key in expected, "it lists an unknown storage")
            length, storage_bytes = expected[key]
            _check(int.from_bytes(file.read(8), "little") == length, "a storage has the wrong size")
            places[key] = file.tell()
            file.seek(storage_bytes, io.SEEK_CUR)
    _check(places.keys() == expected.keys(), "a storage is missing")
    return content


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads an entry. PyTorch compresses none, and a compressed one could fill the memory."""
    entry = archive.getinfo(name)
    _check(entry.compress_type == zipfile.ZIP_STORED, f"{name!r:.80} is compressed")
    return archive.read(entry)


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


@contextlib.contextmanager
def _errors_with_path(path: Path) -> Iterator[None]:
    """Raises ValueError with the file's name; damaged files raise errors of many types."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}.") from error
