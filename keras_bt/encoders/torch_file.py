"""Reads files of `torch.save` without PyTorch, and without running what is in them.

Such a file is a pickle beside the raw bytes of its tensors: in a zip archive, or before PyTorch
1.6 one after the other.
"""

import collections
import contextlib
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_bt._support.errors import first_line
from keras_bt.encoders.torch_pickle import Name, read_pickle

OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
OLD_START = pickle.dumps(OLD_MAGIC, protocol=2)
DTYPES = {
    "BFloat16Storage": ml_dtypes.bfloat16,
    "BoolStorage": np.bool_,
    "ByteStorage": np.uint8,
    "CharStorage": np.int8,
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "IntStorage": np.int32,
    "LongStorage": np.int64,
    "ShortStorage": np.int16,
}


class StoredTensor(NamedTuple):
    """A tensor that is still in its file: its shape, and a function that reads its values."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class _Storage(NamedTuple):
    """The values of one or several tensors: how many, and a function that reads them."""

    length: int
    read: Callable[[], np.ndarray]


def read_torch_file(path):
    """What `torch.save` wrote to a file, its tensors as `StoredTensor`.

    Args:
        path: Path of the file.

    Returns:
        Dicts, lists, numbers and strings as they were saved; functions as `Name`s.

    Raises:
        ValueError: If it is no such file, a damaged one, or its pickle calls for anything but
            tensors and ordered dicts.
        OSError: If it cannot be read.

    Example:
        >>> read_torch_file("README.md")
        Traceback (most recent call last):
            ...
        ValueError: README.md is not a file of torch.save.

    Source: pytorch/pytorch torch/serialization.py@v2.14, `_save` and `_legacy_load`.
        Differs from source: reads a tensor when it is asked for; knows no devices.
    """
    path = Path(path).expanduser()
    with path.open("rb") as file:
        old = file.read(len(OLD_START)) == OLD_START
    if not old and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a file of torch.save.")
    with _named(path):
        return _read_old(path) if old else _read_zip(path)


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ValueError("it is a zip file, but not one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            _check(_entry(archive, f"{folder}byteorder") == b"little", "its bytes are big-endian")

        def storage(key, dtype, count):
            size_bytes = archive.getinfo(f"{folder}data/{key}").file_size
            _check(size_bytes == count * dtype.itemsize, f"storage {key} has another size")

            def read():
                with zipfile.ZipFile(path) as archive:
                    return np.frombuffer(_entry(archive, f"{folder}data/{key}"), dtype)

            return _Storage(count, read)

        content = io.BytesIO(_entry(archive, f"{folder}data.pkl"))
        return read_pickle(content, _calls(path), _storages(storage))


def _read_old(path):
    places: dict[str, int] = {}
    dtypes: dict[str, np.dtype] = {}

    def storage(key, dtype, count):
        dtypes[key] = dtype
        _check(count * dtype.itemsize <= path.stat().st_size, f"storage {key} is cut off")

        def read():
            with path.open("rb") as file:
                file.seek(places[key])
                content = file.read(count * dtype.itemsize)
            _check(len(content) == count * dtype.itemsize, f"storage {key} is cut off")
            return np.frombuffer(content, dtype)

        return _Storage(count, read)

    with path.open("rb") as file:
        plain = {"call": _calls(path), "persistent": _storages(storage)}
        _, protocol, system = (read_pickle(file, **plain) for _ in range(3))
        known = protocol == OLD_PROTOCOL and system["little_endian"]
        _check(known, "it is of a format that is not known here")
        content = read_pickle(file, **plain)
        for key in read_pickle(file, **plain):
            count = int.from_bytes(file.read(8), "little")
            places[key] = file.tell()
            file.seek(count * dtypes[key].itemsize, io.SEEK_CUR)
    return content


def _entry(archive, name):
    """The bytes of an entry, which torch.save never compresses: packed ones could be anything."""
    entry = archive.getinfo(name)
    _check(entry.compress_type == zipfile.ZIP_STORED, f"{name} is compressed")
    return archive.read(entry)


def _storages(storage):
    def persistent(pid):
        kind, (module, name), key, _device, count, *view = pid
        known = kind == "storage" and module == "torch" and name in DTYPES and not any(view)
        _check(known, f"it holds a storage of a kind that is not known here: {module}.{name}")
        _check(isinstance(count, int) and count >= 0, f"storage {key} has another size")
        return storage(key, np.dtype(DTYPES[name]), count)

    return persistent


def _calls(path):
    def call(name, *arguments):
        match name:
            case Name("collections", "OrderedDict"):
                return collections.OrderedDict(*arguments)
            case Name("torch._utils", "_rebuild_tensor_v2"):
                storage, offset, shape, strides = arguments[:4]
                return _tensor(storage, offset, shape, strides, path)
            case Name("torch._utils", "_rebuild_parameter"):
                return arguments[0]
            case Name("torch", "Size"):
                return tuple(*arguments)
        raise ValueError(
            f"its pickle calls {name.module}.{name.name}, which is neither tensor nor container "
            "and may do anything"
        )

    return call


def _tensor(storage, offset, shape, strides, path):
    _check(type(storage) is _Storage, "it holds a tensor without a storage")
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    inside = min((offset, *shape, *strides)) >= 0 and offset + reach < storage.length
    whole = inside and math.prod(shape) <= storage.length
    _check(whole or 0 in shape, f"it holds a tensor {list(shape)} that leaves its storage")

    def read():
        with _named(path):
            if 0 in shape:
                return np.zeros(shape, "float32")
            values = storage.read()
            _check(offset + reach < len(values), "a tensor leaves its storage")
            steps = [stride * values.itemsize for stride in strides]
            view = np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)
            return view.copy()

    return StoredTensor(tuple(shape), read)


def _check(condition, problem):
    if not condition:
        raise ValueError(problem)


@contextlib.contextmanager
def _named(path):
    """Has errors name the file; damaged ones raise all sorts."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}.") from error
