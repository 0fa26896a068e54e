import collections
import contextlib
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_bt
from keras_bt.encoders.torch_file import StoredTensor, read_torch_file

sys.path.append(str(Path(__file__).parent))
import torch_files

NARROW = "resnet18_width2.pth", "resnet18_width2_old.pth"


@pytest.fixture
def imported(monkeypatch):
    """The encoder and projector of what a file would hold."""

    def imported(content):
        monkeypatch.setattr("keras_bt.encoders.torch_import.read_torch_file", lambda path: content)
        return keras_bt.import_torch_resnet("any.pth")

    return imported


def by_rule(shapes):
    """A state dict of the golden weights, see tests/golden/README.md."""

    def tensor(name, shape):
        def read():
            return torch_files.weight_by_rule(name, shape).astype("float32")

        return StoredTensor(shape, read)

    return {name: tensor(name, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_features_equal_torchvision(golden, imported, name):
    numbers = golden("resnet.npz")
    encoder, _ = imported(by_rule(torch_files.resnet_shapes(name)))

    def relative_error(training, mode):
        expected = numbers[f"{name}/{mode}"]
        features = encoder(numbers["images"], training=training).numpy()
        return np.linalg.norm(features - expected) / np.linalg.norm(expected)

    assert relative_error(False, "eval") < 1e-5
    # Batch norm over a dozen values a channel amplifies rounding, a hundred layers deep: the
    # golden float32 numbers are themselves 2e-4 from what float64 gives for ResNet-101.
    assert relative_error(True, "train") < (3e-4 if name == "resnet101" else 1e-4)


def torch_layout(values):
    """An array of ours with the axes PyTorch has."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(values.ndim, (0,))
    return values.transpose(axes)


def write_checkpoint(path, content):
    """A file of `torch.save`'s layout around any pickled object."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("checkpoint/byteorder", "little")
    return path


@pytest.mark.parametrize("name", NARROW)
def test_files_of_pytorch_old_and_new_are_read(golden_path, name):
    state = read_torch_file(golden_path / name)
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    assert {key: tensor.shape for key, tensor in state.items()} == shapes
    for key, tensor in state.items():
        values = tensor.read()
        expected = torch_files.weight_by_rule(key, shapes[key])
        np.testing.assert_array_equal(values, expected.astype(values.dtype))
        assert values.dtype == ("int64" if key.endswith("tracked") else "float32")


@pytest.mark.parametrize("name", NARROW)
def test_weights_take_their_places(golden_path, name):
    encoder, projector = keras_bt.import_torch_resnet(golden_path / name)
    assert projector is None
    assert encoder.input_shape == (None, None, None, 3)
    kernel = encoder.get_layer("layer2_0_downsample_0").kernel.numpy()
    rule = torch_files.weight_by_rule("layer2.0.downsample.0.weight", (4, 2, 1, 1))
    np.testing.assert_array_equal(torch_layout(kernel), rule.astype("float32"))
    statistics = encoder.get_layer("layer4_1_bn2").moving_variance.numpy()
    rule = torch_files.weight_by_rule("layer4.1.bn2.running_var", (16,))
    np.testing.assert_array_equal(statistics, rule.astype("float32"))


def test_a_whole_checkpoint_of_the_official_code_with_its_projector(golden_path, rng, caplog):
    caplog.set_level("INFO")
    path = golden_path / "checkpoint_resnet50_width1.pth"
    encoder, projector = keras_bt.import_torch_resnet(path, image_size=32)
    assert encoder.name == "resnet50"
    assert encoder.input_shape == (None, 32, 32, 3)
    assert projector.output_shape == (None, 8)
    assert "Not taken from" in caplog.text and "module.bn.running_mean" in caplog.text
    # The projector, written out in PyTorch's terms.
    weights = {
        name: torch_files.weight_by_rule(name, shape).astype("float32")
        for name, shape in torch_files.projector_shapes(32).items()
    }
    features = rng.normal(size=(5, 32)).astype("float32")
    hidden = features @ weights["0.weight"].T
    scale = weights["1.weight"] / np.sqrt(weights["1.running_var"] + 1e-5)
    hidden = (hidden - weights["1.running_mean"]) * scale + weights["1.bias"]
    expected = np.maximum(hidden, 0) @ weights["3.weight"].T
    np.testing.assert_allclose(projector(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.encoder.", "backbone."])
def test_any_prefix_and_any_nesting(imported, prefix):
    state = by_rule(torch_files.resnet_shapes("resnet18", width=1))
    content = {"epoch": 1, "state": {"net": {prefix + key: value for key, value in state.items()}}}
    encoder, _ = imported(content)
    assert encoder.name == "resnet18"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bn1.bias": None, "layer4.1.conv2.weight": None},
            "any.pth holds no resnet18. missing: bn1.bias, layer4.1.conv2.weight.",
        ),
        ({"extra.weight": (3,)}, "not known: extra.weight."),
        (
            {"conv1.weight": (2, 3, 5, 5)},
            r"of another shape: conv1.weight \[2, 3, 5, 5\] for \[2, 3, 3, 3\]",
        ),
        ({"conv1.weight": None}, "holds no ResNet: no weights named conv1.weight"),
        ({"layer3.1.conv1.weight": None}, r"missing: layer3.1.conv1.weight"),
    ],
)
def test_what_does_not_fit_is_listed(imported, changes, message):
    shapes = torch_files.resnet_shapes("resnet18", width=2) | changes
    with pytest.raises(ValueError, match=message):
        imported(by_rule({name: shape for name, shape in shapes.items() if shape is not None}))


def test_a_classifier_is_left_out(imported):
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    encoder, _ = imported(by_rule(shapes | {"fc.weight": (10, 16), "fc.bias": (10,)}))
    assert encoder.output_shape == (None, 16)


def test_other_depths_are_refused(imported):
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    content = {name: shape for name, shape in shapes.items() if not name.startswith("layer3.1.")}
    with pytest.raises(ValueError, match=r"basic blocks \(2, 2, 1, 2\)"):
        imported(by_rule(content))


def test_weights_that_are_not_finite_are_refused(imported):
    content = by_rule(torch_files.resnet_shapes("resnet18", width=1))
    content["bn1.bias"] = StoredTensor((1,), lambda: np.array([np.nan]))
    with pytest.raises(ValueError, match="Not finite: bn1.bias"):
        imported(content)


class Malicious:
    """Runs a command when a pickle of it is loaded by one who trusts it."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("nested", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, nested):
    trace = tmp_path / "it ran"
    content = Malicious(f"touch '{trace}'")
    content = {"model": collections.OrderedDict(weight=content)} if nested else content
    path = write_checkpoint(tmp_path / "bad.pth", content)
    with pytest.raises(ValueError, match=r"bad.pth .* calls posix.system, which is neither tensor"):
        keras_bt.import_torch_resnet(path)
    assert not trace.exists()
    with zipfile.ZipFile(path) as archive:  # the file itself is able to
        pickle.loads(archive.read("checkpoint/data.pkl"))
    assert trace.exists()


def rewritten(source, target, change):
    """A copy of a zip file with the pickle in it changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return target


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        # The size (2,) of the first batch norm's weight becomes (200,), or its stride 0.
        (b"K\x02\x85", b"K\xc8\x85", r"a tensor \[200\] that leaves its storage"),
        (b"K\x02\x85q\x11K\x01", b"K\xc8\x85q\x11K\x00", r"\[200\] that leaves its storage"),
        # Another count of values than there are.
        (b"X\x03\x00\x00\x00cpu", b"X\x03\x00\x00\x00cpuK\x09", "cannot be read"),
        (b"FloatStorage", b"FloatMystery", "a kind that is not known here: torch.FloatMystery"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v9", "calls torch._utils._rebuild_tensor_v9"),
        (b")Rq\x01", b")\x81q\x01", "the instruction NEWOBJ"),
    ],
)
def test_pickles_that_are_up_to_something_are_refused(
    golden_path, tmp_path, before, after, message
):
    def change(content):
        assert before in content
        return content.replace(before, after, 1)

    path = rewritten(golden_path / NARROW[0], tmp_path / "odd.pth", change)
    with pytest.raises(ValueError, match=message):
        read_torch_file(path)


def test_a_compressed_pickle_is_refused(golden_path, tmp_path):
    path = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(golden_path / NARROW[0]) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="packed.pth cannot be read: .* is compressed"):
        read_torch_file(path)


def test_a_container_that_holds_itself_ends_the_search(tmp_path):
    content = {"epoch": 1}
    content["again"] = content
    with pytest.raises(ValueError, match="holds no ResNet"):
        keras_bt.import_torch_resnet(write_checkpoint(tmp_path / "ring.pth", content))


def test_a_network_that_outgrows_its_file_is_not_built(imported):
    shapes = torch_files.resnet_shapes("resnet18", width=2) | {"conv1.weight": (10**6, 3, 7, 7)}
    with pytest.raises(ValueError, match="last stage is 8 times as wide as the first"):
        imported(by_rule(shapes))


def test_a_projector_of_another_kind_is_left_out_with_a_warning(imported, caplog):
    backbone = torch_files.resnet_shapes("resnet18", width=1)
    projector = torch_files.projector_shapes(8) | {"0.bias": (12,)}
    content = {f"backbone.{name}": shape for name, shape in backbone.items()}
    content |= {f"projector.{name}": shape for name, shape in projector.items()}
    encoder, projector = imported(by_rule(content))
    assert projector is None and encoder.output_shape == (None, 8)
    assert "holds no projector of the official code. not known: 0.bias." in caplog.text


def test_other_files_are_named(tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text.pth is not a file of torch.save"):
        read_torch_file(tmp_path / "text.pth")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="is a zip file, but not one of torch.save"):
        read_torch_file(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no ResNet"):
        keras_bt.import_torch_resnet(write_checkpoint(tmp_path / "list.pth", [1, {"a": 2}]))
    with pytest.raises(FileNotFoundError):
        keras_bt.import_torch_resnet(tmp_path / "nothing.pth")


@pytest.mark.parametrize("name", NARROW)
def test_damaged_files_are_named(golden_path, tmp_path, name):
    whole, path = (golden_path / name).read_bytes(), tmp_path / "damaged.pth"
    for tenth in range(1, 10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        with pytest.raises(ValueError, match="damaged.pth"):
            keras_bt.import_torch_resnet(path)
    for place in np.linspace(0, len(whole) - 1, 60, dtype=int):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with contextlib.suppress(ValueError):  # the old format has no checksums
            tensors = read_torch_file(path)
            for tensor in tensors.values():
                if isinstance(tensor, StoredTensor):
                    tensor.read()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_what_pytorch_writes_here_gives_its_features(tmp_path, golden, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = torch_files.state_dict(torch_files.resnet_shapes(name), "module.backbone.")
    torch.save({"model": state}, tmp_path / "checkpoint.pth")
    encoder, _ = keras_bt.import_torch_resnet(tmp_path / "checkpoint.pth")
    numbers = golden("resnet.npz")
    # Why ResNet-101 has more room: test_features_equal_torchvision.
    for mode, tolerance in (("eval", 1e-4), ("train", 3e-4 if name == "resnet101" else 1e-4)):
        features = encoder(numbers["images"], training=mode == "train").numpy()
        expected = numbers[f"{name}/{mode}"]
        error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
        assert error < tolerance, mode
