"""Reads pickles of `torch.save` without importing or running anything that they name.

A file may be hostile. The unpickler has its own versions of the instructions and functions that a
state dict needs. Objects of other classes, such as hyperparameters beside the state dict, become
placeholders without content. All else is rejected.
"""

import io
import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

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
INSTRUCTIONS = (
    *("PROTO", "FRAME", "MARK", "STOP", "GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE", "BUILD"),
    *("NEWOBJ", "NEWOBJ_EX"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2"),
    *("TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
)
# Classes and constructors with names in lower case, in checkpoints of whole trainings.
PLAIN_TYPES = {
    *("bytearray", "complex", "frozenset", "range", "xrange", "set", "slice", "defaultdict"),
    *(
        "deque",
        "date",
        "datetime",
        "time",
        "timedelta",
        "timezone",
        "partial",
        "device",
        "dtype",
        "encode",
    ),
    *("scalar", "ndarray", "_reconstruct", "getitem"),  # of NumPy, and of generic types
}
MAX_RANK, MAX_KEY_LENGTH = 32, 1000


class Storage(NamedTuple):
    """The values of one or several tensors: their number, and a function that reads them."""

    length: int
    read: Callable[[], np.ndarray]


class StoredTensor(NamedTuple):
    """A tensor that is still in its file: its shape, and a function that reads its values."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Name(NamedTuple):
    """A function or class that a pickle names. It is never imported."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> Any:
        """Calls this file's own version of the function. That of a class is a placeholder."""
        if self in FUNCTIONS:
            return FUNCTIONS[self](*arguments)
        # Nothing is called in either case. But an unknown function may compute weights.
        if self.name[:1].isupper() or self.name in PLAIN_TYPES:
            return Placeholder(self)
        raise _refused(f"calls {'.'.join(self)!r:.80}")


class Placeholder:
    """An object of a class that is not read. It holds only the name of the class."""

    def __init__(self, name: Name) -> None:
        self.name = name

    def ignore(self, *_: Any) -> None:
        """Drops what the pickle puts into the object."""

    append = extend = __setitem__ = ignore


def read_pickle(file: io.BytesIO, storage: Callable[[str, np.dtype, int], Storage]) -> Any:
    """Reads one pickle, with tensors as `StoredTensor`.

    Args:
        file: Open file. Its position on return is after the pickle.
        storage: Returns the storage of a key, a dtype and a number of values.

    Returns:
        Dicts, lists, numbers and strings as they were saved. A function or class in them is a
        `Name`, and an object of a class a `Placeholder`. Attributes of dicts are lost.

    Raises:
        pickle.UnpicklingError: If the pickle uses anything that is not allowed.
        Exception: Of many other types, if the pickle is damaged.

    Example:
        >>> content = pickle.dumps({"a": [1, (2.5, None)], "f": print})
        >>> read_pickle(io.BytesIO(content), storage=None)
        {'a': [1, (2.5, None)], 'f': Name(module='builtins', name='print')}
    """
    return _Unpickler(file, storage).load()


class _Instructions(dict[int, Callable[[Any], None]]):
    """Functions of the unpickler by their instruction's code; others raise."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        names = {vars(pickle)[name]: name for name in pickle.__all__ if name.isupper()}
        raise _refused(f"has the instruction {names.get(bytes([code]), code)}")


def _set_item(unpickler: Any) -> None:
    _check_keys(unpickler.stack[-2:-1])
    _STANDARD[pickle.SETITEM[0]](unpickler)


def _set_items(unpickler: Any) -> None:
    _check_keys(unpickler.stack[::2])
    _STANDARD[pickle.SETITEMS[0]](unpickler)


def _build(unpickler: Any) -> None:
    """Drops attributes, such as the `_metadata` of a state dict, instead of setting them."""
    unpickler.stack.pop()
    if type(unpickler.stack[-1]) not in (dict, Placeholder):
        raise _refused("sets attributes of an object")


def _new_object(unpickler: Any) -> None:
    """Makes a placeholder of a class and the arguments of its `__new__`."""
    unpickler.stack.pop()
    if type(unpickler.stack[-1]) is not Name:
        raise _refused("makes an object without a class")
    unpickler.stack[-1] = Placeholder(unpickler.stack[-1])


def _new_object_with_keywords(unpickler: Any) -> None:
    unpickler.stack.pop()
    _new_object(unpickler)


# The unpickler in C (CPython 3.11) is unsafe. Five bytes make it allocate 32 GB (the
# index of LONG_BINPUT), EXT1 takes from a cache of `copyreg`, and keys cannot be checked.
_STANDARD: dict[int, Callable[[Any], None]] = {
    vars(pickle)[name][0]: pickle._Unpickler.dispatch[vars(pickle)[name][0]]
    for name in INSTRUCTIONS
}


class _Unpickler(pickle._Unpickler):
    """The standard library's unpickler with the instructions and names of this file only."""

    dispatch = _Instructions(
        {
            **_STANDARD,
            pickle.SETITEM[0]: _set_item,
            pickle.SETITEMS[0]: _set_items,
            pickle.BUILD[0]: _build,
            pickle.NEWOBJ[0]: _new_object,
            pickle.NEWOBJ_EX[0]: _new_object_with_keywords,
        }
    )

    def __init__(self, file: io.BytesIO, storage: Callable[[str, np.dtype, int], Storage]) -> None:
        super().__init__(file, encoding="latin-1")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Name:
        return Name(module, name)

    def persistent_load(self, pid: Any) -> Storage | Name:
        match pid:
            case ("storage", Name("torch", name), str(key), _, int(length)) | (
                "storage",
                Name("torch", name),
                str(key),
                _,
                int(length),
                None,
            ) if name in DTYPES and len(key) <= MAX_KEY_LENGTH and length >= 0:
                return self.storage(key, np.dtype(DTYPES[name]), length)
            case ("module", Name() as kind, _, _):  # before PyTorch 1.6, with its source code
                return kind
            case (_, Name() as kind, *_):
                raise _refused(f"holds a storage {'.'.join(kind)!r:.80}")
        raise _refused("refers to an object outside the pickle that is not a storage")


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    result = {}
    for key, value in items:
        _check_keys([key])
        result[key] = value
    if items:  # from Python 2; a list that is used again would let a small file fill the memory
        items.clear()
    return result


def _sizes(numbers: Any) -> tuple[int, ...]:
    if type(numbers) not in (tuple, list) or len(numbers) > MAX_RANK:
        raise _refused("holds a tensor without a shape")
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise _refused("holds a tensor with an impossible shape, stride or offset")
    return tuple(numbers)


def _parameter(tensor: Any, requires_grad: Any = None, hooks: Any = None) -> StoredTensor:
    if type(tensor) is not StoredTensor:
        raise _refused("holds a parameter without a tensor")
    return tensor


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = None,
    hooks: Any = None,
    metadata: Any = None,
) -> StoredTensor:
    if type(storage) is not Storage:
        raise _refused("holds a tensor without a storage")
    (offset,), shape, strides = _sizes([offset]), _sizes(shape), _sizes(strides)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    inside = last < storage.length and math.prod(shape) <= storage.length
    if not inside and 0 not in shape:
        raise _refused(f"holds a tensor {list(shape)} larger than its storage")

    def read() -> np.ndarray:
        if 0 in shape:
            return np.zeros(shape, "float32")
        values = storage.read()
        steps = [stride * values.itemsize for stride in strides]
        view = np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)
        return view.copy()

    return StoredTensor(shape, read)


FUNCTIONS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): _ordered_dict,
    Name("torch", "Size"): _sizes,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
}


def _check_keys(keys: Iterable[Any]) -> None:
    """Rejects keys that take long to hash or compare; a deeply nested tuple crashes Python."""
    for key in keys:
        short = type(key) is str and len(key) <= MAX_KEY_LENGTH
        small = type(key) is int and key.bit_length() < 64
        if not (short or small or type(key) in (bool, float, type(None), Name, Placeholder)):
            raise _refused(f"has a dict with a long key or one of type {type(key).__name__}")


def _refused(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(
        f"its pickle {what}, which is not allowed; in PyTorch, save the model's state_dict() alone"
    )
