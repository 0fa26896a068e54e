"""Reading of PyTorch files: whole ones, damaged ones and hostile ones."""

import collections
import contextlib
import copyreg
import os
import pickle
import struct
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_bt
from keras_bt.encoders.torch_file import MAX_PICKLE_BYTES, OLD_START, read_torch_file
from keras_bt.encoders.torch_pickle import Name, StoredTensor

sys.path.append(str(Path(__file__).parent))
import torch_files

FILES = "resnet18_width2.pth", "resnet18_width2_old.pth"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


# Parts of hostile pickles: names, and the persistent id of a storage of four values.
FLOAT_STORAGE = b"ctorch\nFloatStorage\n"
PID = b"(" + text("storage") + FLOAT_STORAGE + text("0") + text("cpu") + number(4) + b"t"
STORAGE = PID + b"Q"
ZERO, KEYS = number(0), b"](" + text("0") + b"e"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
SYSTEM = b"cposix\nsystem\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n"
NAMESPACE = b"cargparse\nNamespace\n"


def tensor(storage=STORAGE, offset=ZERO, shape=b"K\x04\x85", strides=b"K\x01\x85"):
    return REBUILD + b"(" + storage + offset + shape + strides + b"\x89})tR"


def shared(tuples, levels=60):
    """A tree of 2^levels leaves whose branches are one object, in three bytes per level."""
    return b"N" + (b"q\x00h\x00\x86" if tuples else b"q\x00]h\x00ah\x00a") * levels


def write_file(path, content):
    """Writes a new file around a pickle, with one storage of four values."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint/data.pkl", content)
        archive.writestr("checkpoint/data/0", np.arange(4, dtype="float32").tobytes())
    return path


def write_old_file(path, content, keys=KEYS, length=4):
    """Writes an old file around a pickle, with one storage of four values."""
    pickles = pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), content
    values = struct.pack("<q", length) + np.arange(4, dtype="float32").tobytes()
    path.write_bytes(OLD_START + b"".join(pickles) + b"\x80\x02" + keys + b"." + values)
    return path


WRITERS = pytest.mark.parametrize("write", [write_file, write_old_file], ids=["new", "old"])


@contextlib.contextmanager
def few_resources():
    """Fails if a block takes long, or much memory at any time."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10


@pytest.mark.parametrize("name", FILES)
def test_reads_new_and_old_files_of_pytorch(golden_path, name):
    state = read_torch_file(golden_path / name)
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    assert {key: tensor.shape for key, tensor in state.items()} == shapes
    for key, tensor in state.items():
        values = tensor.read()
        expected = torch_files.weight_by_rule(key, shapes[key])
        np.testing.assert_array_equal(values, expected.astype(values.dtype))
        assert values.dtype == ("int64" if key.endswith("tracked") else "float32")


@WRITERS
def test_reads_tensors_with_offset_and_strides(write, tmp_path):
    content = tensor(offset=number(1), shape=b"K\x02K\x01\x86", strides=b"K\x02K\x05\x86")
    read = read_torch_file(write(tmp_path / "a.pth", b"\x80\x02" + content + b"."))
    np.testing.assert_array_equal(read.read(), [[1], [3]])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_plain_values_of_each_protocol(tmp_path, protocol):
    content = {"a": [1, -(2**40), 2.5, None, True], 3: ("b", (), {}), "f": os.path.join}
    path = write_file(tmp_path / "a.pth", pickle.dumps(content, protocol))
    expected = {**content, "f": Name(os.path.join.__module__, "join")}
    assert read_torch_file(path) == expected


def test_reads_ordered_dicts_of_python_2_and_drops_attributes(tmp_path):
    content = ORDERED_DICT + b"](](U\x01aK\x01ee\x85R}" + text("items") + SYSTEM + b"sb"
    read = read_torch_file(write_file(tmp_path / "a.pth", b"\x80\x02" + content + b"."))
    assert read == {"a": 1} and type(read) is dict


class RunsCommand:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@WRITERS
@pytest.mark.parametrize("nested", [False, True])
def test_refuses_pickle_that_runs_a_command(tmp_path, write, nested):
    trace = tmp_path / "it ran"
    content = RunsCommand(f"touch '{trace}'")
    content = {"model": collections.OrderedDict(weight=content)} if nested else content
    content = pickle.dumps(content, 2)
    path = write(tmp_path / "bad.pth", content)
    with pytest.raises(ValueError, match=r"bad.pth .* calls 'posix.system', which is not allowed"):
        keras_bt.import_torch_resnet(path)
    assert not trace.exists()
    pickle.loads(content)  # proves that the command works
    assert trace.exists()


HOSTILE = {
    "eval": (b"cbuiltins\neval\n" + text("1") + b"\x85R", "calls 'builtins.eval'"),
    "__import__": (text("builtins") + text("__import__") + b"\x93)R", "'builtins.__import__'"),
    "dotted name": (text("os") + text("path.os.system") + b"\x93)R", "'os.path.os.system'"),
    "getattr": (b"cbuiltins\ngetattr\n)R", "calls 'builtins.getattr'"),
    "copyreg": (b"ccopyreg\n_reconstructor\n)R", "calls 'copyreg._reconstructor'"),
    "copy_reg": (b"ccopy_reg\n__newobj__\n)R", "calls 'copy_reg.__newobj__'"),
    "own function": (b"ckeras_bt.encoders.torch_pickle\nread_pickle\n)R", "torch_pickle.read_pic"),
    "name of two lines": (text("a\nb") + text("c" * 500) + b"\x93)R", r"calls 'a\\nb\.c+, which"),
    "name that is no text": (b"K\x01K\x02\x93", "STACK_GLOBAL requires str"),
    "call of a dict": (b"})R", "not callable"),
    "call of a tensor": (tensor() + b")R", "not callable"),
    "INST": (b"(" + text("true") + b"iposix\nsystem\n", "instruction INST"),
    "OBJ": (b"(" + SYSTEM + text("true") + b"o", "instruction OBJ"),
    "object of a number": (b"K\x01)\x81", "makes an object without a class"),
    "object of an object": (NAMESPACE + b")\x81)\x81", "an object without a class"),
    "call of an object": (NAMESPACE + b")\x81)R", "not callable"),
    "getattr of a class": (
        b"cbuiltins\ngetattr\n" + NAMESPACE + b"\x85R",
        "calls 'builtins.getattr'",
    ),
    "EXT1": (b"\x82\xf0" + text("true") + b"\x85R", "instruction EXT1"),
    "EXT2": (b"\x83\xf0\x00)R", "instruction EXT2"),
    "EXT4": (b"\x84\xf0\x00\x00\x00)R", "instruction EXT4"),
    "PERSID": (b"Pkey\n", "instruction PERSID"),
    "POP": (b"NN0", "instruction POP"),
    "unknown instruction": (b"\xff", "instruction 255"),
    "attributes of a function": (
        ORDERED_DICT + b"N}" + text("__code__") + b"Ns\x86b",
        "sets attributes of an object",
    ),
    "attributes of a tensor": (tensor() + b"}" + text("read") + b"Nsb", "sets attributes"),
    "attributes of a storage": (STORAGE + b"N}" + text("read") + b"Ns\x86b", "sets attributes"),
    "attributes of a list": (b"]}b", "sets attributes of an object"),
    "attributes of nothing": (b"}b", "list index out of range"),
    "LONG4": (b"\x8b\xff\xff\xff\x7f1", "instruction LONG4"),
    "huge BINBYTES8": (b"\x8e" + struct.pack("<Q", 2**62), "cannot be read"),
    "huge BINUNICODE8": (b"\x8d" + struct.pack("<Q", 2**62), "cannot be read"),
    "huge BYTEARRAY8": (b"\x96" + struct.pack("<Q", 2**36), "instruction BYTEARRAY8"),
    "huge FRAME": (b"\x95" + struct.pack("<Q", 2**62), "cannot be read"),
    "long INT": (b"I" + b"9" * 10**6 + b"\n", "instruction INT"),
    "shared tuples as a key": (b"}" + shared(tuples=True) + b"Ns", "key or one of type tuple"),
    "nested tuples as a key": (b"}N" + b"\x85" * 10**5 + b"Ns", "key or one of type tuple"),
    "key of a set": (b"\x8f(" + shared(tuples=True) + b"\x90", "instruction EMPTY_SET"),
    "long key": (b"}" + text("a" * 1001) + b"Ns", "long key or one of type str"),
    "huge integer as a key": (b"}\x8a\x09" + b"\x01" * 9 + b"Ns", "long key or one of type int"),
    "keys of an ordered dict": (ORDERED_DICT + b"](](" + STORAGE + b"Nee\x85R", "type Storage"),
    "items that are no pairs": (ORDERED_DICT + b"](K\x01e\x85R", "unpack"),
    "items that are no list": (ORDERED_DICT + text("ab") + b"\x85R", "unpack"),
    "two arguments of a dict": (ORDERED_DICT + b"]]\x86R", "2 were given"),
    "no such memo": (b"h\x07", "Memo value not found"),
    "no mark": (b"t", "pop from empty list"),
    "pid that is a number": (b"K\x01Q", "refers to an object outside"),
    "pid that is too short": (b"(" + text("storage") + b"tQ", "refers to an object outside"),
    "pid that is too long": (PID[:-1] + b"NNtQ", "a storage 'torch.FloatStorage', which"),
    "pid of another kind": (PID.replace(b"storage", b"garbage", 1) + b"Q", "is not allowed"),
    "pid of another module": (PID.replace(b"ctorch", b"cother") + b"Q", "'other.FloatStorage'"),
    "pid of another type": (PID.replace(b"Float", b"Magic") + b"Q", "'torch.MagicStorage'"),
    "pid with a tree as a key": (
        b"(" + text("storage") + FLOAT_STORAGE + shared(tuples=False) + b"NK\x04tQ",
        "a storage 'torch.FloatStorage', which",
    ),
    "pid with a long key": (PID.replace(text("0"), text("0" * 1001)) + b"Q", "FloatStorage"),
    "pid with a negative length": (PID.replace(number(4), number(-4)) + b"Q", "FloatStorage"),
    "pid with a float for a length": (
        PID.replace(number(4), b"G" + struct.pack(">d", 4.0)) + b"Q",
        "FloatStorage",
    ),
    "storage of another length": (PID.replace(number(4), number(2**30)) + b"Q", "size|cut off"),
    "tensor without a storage": (tensor(storage=b"K\x01"), "a tensor without a storage"),
    "tensor of a tensor": (tensor(storage=tensor()), "a tensor without a storage"),
    "tensor without arguments": (REBUILD + b")R", "missing 4 required"),
    "tensor with too many arguments": (REBUILD + b"(" + b"N" * 8 + b"tR", "were given"),
    "tensor of negative offset": (tensor(offset=number(-1)), "impossible shape, stride or offset"),
    "tensor of negative stride": (tensor(strides=number(-1) + b"\x85"), "impossible shape"),
    "tensor of floats as shape": (tensor(shape=b"G" + bytes(8) + b"\x85"), "impossible shape"),
    "tensor of a tree as shape": (tensor(shape=shared(tuples=True)), "impossible shape"),
    "tensor of a number as shape": (tensor(shape=b"K\x04"), "a tensor without a shape"),
    "tensor of rank 100": (tensor(shape=b"(" + b"K\x01" * 100 + b"t"), "a tensor without a shape"),
    "tensor of another rank": (tensor(shape=b"K\x01K\x01\x86"), "argument 2 is shorter"),
    "tensor larger than its storage": (tensor(shape=b"K\x05\x85"), r"tensor \[5\] larger than its"),
    "tensor of stride 0": (
        tensor(shape=b"K\x05\x85", strides=b"K\x00\x85"),
        r"tensor \[5\] larger",
    ),
    "tensor behind its storage": (tensor(offset=number(1)), r"tensor \[4\] larger than its"),
    "tensor of huge integers": (tensor(shape=b"\x8a\xff" + b"\x7f" * 255 + b"\x85"), "impossible"),
    "parameter of a number": (b"ctorch._utils\n_rebuild_parameter\nK\x01\x89N\x87R", "a parameter"),
    "size of text": (b"ctorch\nSize\n" + text("ab") + b"\x85R", "a tensor without a shape"),
    "size of a long list": (b"ctorch\nSize\n](" + b"K\x01" * 99 + b"e\x85R", "without a shape"),
}


@WRITERS
@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_pickles_at_once(tmp_path, write, name):
    content, message = HOSTILE[name]
    path = write(tmp_path / "bad.pth", b"\x80\x02" + content + b".")
    with few_resources(), pytest.raises(ValueError, match=message) as error:
        read_torch_file(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{path} cannot be read: ")
    assert len(lines[0]) < 250 + len(str(path))


HARMLESS = {
    "function as a key": (b"}(NN" + SYSTEM + b"Nu", {None: None, Name("posix", "system"): None}),
    "object with items, attributes and entries": (
        b"}U\x01a" + NAMESPACE + b")\x81K\x01a(NNe(NNuNNs}bs",
        None,
    ),
    "function that is not called": (b"cbuiltins\neval\n", Name("builtins", "eval")),
    "class with its source code": (
        b"(" + text("module") + NAMESPACE + text("a.py") + text("import os") + b"tQ",
        Name("argparse", "Namespace"),
    ),
    "huge index of the memo": (b"}r\xff\xff\xff\xff", {}),
    "empty tensor of a huge shape": (
        tensor(shape=b"K\x00\x8a\x07" + b"\x7f" * 7 + b"\x86", strides=b"K\x01K\x01\x86"),
        None,
    ),
    "tree of lists": (shared(tuples=False), None),
    "nested lists": (b"]" * 10**5 + b"a" * (10**5 - 1), None),
    "nested marks": (b"(" * 10**5 + b"N", None),
}


@pytest.mark.slow
@WRITERS
@pytest.mark.parametrize("name", HARMLESS)
def test_unusual_pickles_need_few_resources(tmp_path, write, name):
    content, expected = HARMLESS[name]
    path = write(tmp_path / "odd.pth", b"\x80\x02" + STORAGE + b"q\x01" + content + b".")
    with few_resources():
        read = read_torch_file(path)
        assert expected is None or read == expected
        with pytest.raises(ValueError, match="holds no ResNet"):
            keras_bt.import_torch_resnet(path)


def test_cached_extensions_are_not_called(tmp_path):
    trace = tmp_path / "it ran"
    copyreg.add_extension("posix", "system", 0xF0)
    try:
        content = b"\x80\x02\x82\xf0" + text(f"touch '{trace}'") + b"\x85R."
        pickle.loads(b"\x80\x02\x82\xf0.")  # fills the cache
        with pytest.raises(ValueError, match="instruction EXT1"):
            read_torch_file(write_file(tmp_path / "bad.pth", content))
        assert not trace.exists()
    finally:
        copyreg.remove_extension("posix", "system", 0xF0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [ORDERED_DICT + b"h\x00\x85R", b"ctorch\nSize\nh\x00\x85R"],
    ids=["OrderedDict", "Size"],
)
def test_many_calls_with_one_long_list_need_few_resources(tmp_path, call):
    pairs = b"](" + b"](U\x01aNe" * 10**4 + b"eq\x00"
    content = b"\x80\x02" + pairs + b"(" + call * 10**4 + b"t."
    with few_resources(), contextlib.suppress(ValueError):
        read_torch_file(write_file(tmp_path / "bad.pth", content))


@WRITERS
def test_refuses_pickle_cut_off_anywhere(tmp_path, write):
    content = b"\x80\x02}" + text("a") + tensor() + b"s."
    assert read_torch_file(write(tmp_path / "whole.pth", content))["a"].shape == (4,)
    for length in range(len(content)):
        path = write(tmp_path / "cut.pth", content[:length])
        with pytest.raises(ValueError, match="cut.pth cannot be read: "):
            read_torch_file(path)


def test_refuses_too_large_pickle(tmp_path):
    content = b"\x80\x02" + b"]" * MAX_PICKLE_BYTES + b"."
    with few_resources(), pytest.raises(ValueError, match=r"its pickle is too large \(4194307 b"):
        read_torch_file(write_file(tmp_path / "large.pth", content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": b"](" + shared(tuples=True) + b"e"}, "lists an unknown storage"),
        ({"keys": b"](" + text("1") + b"e"}, "lists an unknown storage"),
        ({"keys": b"K\x01"}, "not iterable"),
        ({"keys": b"]"}, "a storage is missing"),
        ({"length": 5}, "a storage has the wrong size"),
        ({"length": -1}, "a storage has the wrong size"),
    ],
)
def test_refuses_old_files_with_wrong_storages(tmp_path, changes, message):
    path = write_old_file(tmp_path / "bad.pth", b"\x80\x02" + tensor() + b".", **changes)
    with few_resources(), pytest.raises(ValueError, match=message):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        # The size (2,) of the first batch norm's weight becomes (200,), then its stride 0 too.
        (b"K\x02\x85", b"K\xc8\x85", r"a tensor \[200\] larger than its storage"),
        (b"K\x02\x85q\x11K\x01", b"K\xc8\x85q\x11K\x00", r"\[200\] larger than its storage"),
        # One more value in a persistent id.
        (b"X\x03\x00\x00\x00cpu", b"X\x03\x00\x00\x00cpuK\x09", "holds a storage"),
        (b"FloatStorage", b"FloatMystery", "a storage 'torch.FloatMystery', which is not allowed"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v9", "calls 'torch._utils._rebuild_tensor_v9'"),
        (b")Rq\x01", b"){q\x01", "has the instruction 123"),
    ],
)
def test_refuses_changed_files_of_pytorch(golden_path, tmp_path, before, after, message):
    path = tmp_path / "changed.pth"
    with zipfile.ZipFile(golden_path / FILES[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                assert before in content
                content = content.replace(before, after, 1)
            new.writestr(name, content)
    with pytest.raises(ValueError, match=message):
        read_torch_file(path)


def test_refuses_compressed_pickle(golden_path, tmp_path):
    path = tmp_path / "compressed.pth"
    with (
        zipfile.ZipFile(golden_path / FILES[0]) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="compressed.pth cannot be read: .* is compressed"):
        read_torch_file(path)


def test_names_files_of_other_formats(tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text.pth was not written by torch.save"):
        read_torch_file(tmp_path / "text.pth")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="is a zip archive that torch.save did not write"):
        read_torch_file(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "missing.pth")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_names_damaged_files(golden_path, tmp_path, name):
    whole, path = (golden_path / name).read_bytes(), tmp_path / "damaged.pth"
    for tenth in range(1, 10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        with pytest.raises(ValueError, match="damaged.pth"):
            keras_bt.import_torch_resnet(path)
    for place in np.linspace(0, len(whole) - 1, 60, dtype=int):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with contextlib.suppress(ValueError):  # only the new format has checksums
            tensors = read_torch_file(path)
            for tensor in tensors.values():
                if isinstance(tensor, StoredTensor):
                    tensor.read()
