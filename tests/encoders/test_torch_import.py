import argparse
import collections
import datetime
import decimal
import enum
import functools
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_bt
from keras_bt.encoders.torch_pickle import StoredTensor

sys.path.append(str(Path(__file__).parent))
import torch_files

NARROW = "resnet18_width2.pth", "resnet18_width2_old.pth"


@pytest.fixture
def import_content(monkeypatch):
    """Imports a ResNet from what a file would hold, without the file."""

    def import_content(content):
        monkeypatch.setattr("keras_bt.encoders.torch_import.read_torch_file", lambda path: content)
        return keras_bt.import_torch_resnet("any.pth")

    return import_content


def golden_state_dict(shapes):
    """A state dict with the weights of tests/golden/README.md."""

    def tensor(name, shape):
        def read():
            return torch_files.weight_by_rule(name, shape).astype("float32")

        return StoredTensor(shape, read)

    return {name: tensor(name, shape) for name, shape in shapes.items()}


def without_none(shapes):
    return {name: shape for name, shape in shapes.items() if shape is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_features_equal_torchvision(golden, import_content, name):
    numbers = golden("resnet.npz")
    encoder, _ = import_content(golden_state_dict(torch_files.resnet_shapes(name)))

    def relative_error(training, mode):
        expected = numbers[f"{name}/{mode}"]
        features = encoder(numbers["images"], training=training).numpy()
        return np.linalg.norm(features - expected) / np.linalg.norm(expected)

    assert relative_error(False, "eval") < 1e-5
    # A hundred layers of batch norm over a dozen values per channel amplify rounding: for
    # ResNet-101 the golden float32 numbers are 2e-4 from those of float64.
    assert relative_error(True, "train") < (3e-4 if name == "resnet101" else 1e-4)


def torch_layout(values):
    """Reorders the axes of a Keras weight as in PyTorch."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(values.ndim, (0,))
    return values.transpose(axes)


def write_checkpoint(path, content):
    """Writes a file with the layout of `torch.save` around any object."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("checkpoint/byteorder", "little")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_assigns_weights_to_their_layers(golden_path, name):
    encoder, projector = keras_bt.import_torch_resnet(golden_path / name)
    assert projector is None
    assert encoder.input_shape == (None, None, None, 3)
    kernel = encoder.get_layer("layer2_0_downsample_0").kernel.numpy()
    rule = torch_files.weight_by_rule("layer2.0.downsample.0.weight", (4, 2, 1, 1))
    np.testing.assert_array_equal(torch_layout(kernel), rule.astype("float32"))
    statistics = encoder.get_layer("layer4_1_bn2").moving_variance.numpy()
    rule = torch_files.weight_by_rule("layer4.1.bn2.running_var", (16,))
    np.testing.assert_array_equal(statistics, rule.astype("float32"))


@pytest.mark.slow
def test_imports_official_checkpoint_with_projector(golden_path, rng, caplog):
    caplog.set_level("INFO")
    path = golden_path / "checkpoint_resnet50_width1.pth"
    encoder, projector = keras_bt.import_torch_resnet(path, image_size=32)
    assert encoder.name == "resnet50"
    assert encoder.input_shape == (None, 32, 32, 3)
    assert projector.output_shape == (None, 8)
    assert "Ignored in" in caplog.text and "module.bn.running_mean" in caplog.text
    # The projector again, in NumPy.
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


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module.encoder.", "backbone."])
def test_finds_resnet_under_any_prefix_and_nesting(import_content, prefix):
    state = golden_state_dict(torch_files.resnet_shapes("resnet18", width=1))
    content = {"epoch": 1, "state": {"net": {prefix + key: value for key, value in state.items()}}}
    encoder, _ = import_content(content)
    assert encoder.name == "resnet18"


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder_q."])
def test_finds_resnet_in_a_sequential(import_content, rng, prefix):
    shapes = torch_files.resnet_shapes("resnet18", width=1)
    plain, _ = import_content(golden_state_dict(shapes | {"fc.weight": (3, 8), "fc.bias": (3,)}))
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    content = {"projection_head.0.weight": StoredTensor((4, 8), None)} if prefix else {}
    for name, tensor in golden_state_dict(shapes).items():
        child, _, rest = name.partition(".")
        content[f"{prefix}{numbers[child]}.{rest}"] = tensor
    encoder, projector = import_content({"state_dict": content})
    assert projector is None
    images = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(encoder(images), plain(images))


class Hyperparameters(dict):
    """A dict with attributes, as that of PyTorch Lightning."""


class Stage(enum.Enum):
    FIRST = 1


def write_training(path, golden_path, *beside):
    """Writes a checkpoint of a training: a golden state dict, and other objects beside it."""
    names = [pickle.dumps(name, 2)[2:-1] for name in ("hyper_parameters", "state_dict")]
    others = names[0] + b"](" + b"".join(pickle.dumps(each, 2)[2:-1] for each in beside) + b"e"
    with zipfile.ZipFile(golden_path / NARROW[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                content = b"\x80\x02}(" + others + names[1] + content[2:-1] + b"u."
            new.writestr(name, content)
    return path


@pytest.mark.slow
def test_ignores_objects_beside_the_weights(golden_path, tmp_path):
    parameters = Hyperparameters(lr=0.1, depths=[1, 2])
    parameters.frozen = True
    beside = [
        argparse.Namespace(lr=0.1, nested=argparse.Namespace(), path=Path("/data")),
        {"callbacks": {argparse.Namespace: {"best": np.float64(0.5)}, Stage.FIRST: None}},
        *(parameters, collections.Counter(a=1), collections.defaultdict(list, a=[1]), {1, 2}),
        *(np.arange(3), np.dtype("f4"), datetime.datetime.now(), functools.partial(print, 1)),
        *(1j, range(3), bytearray(b"a"), collections.deque([1]), decimal.Decimal(1)),
    ]
    encoder, _ = keras_bt.import_torch_resnet(
        write_training(tmp_path / "lightning.ckpt", golden_path, *beside)
    )
    assert encoder.output_shape == (None, 16)


def test_whole_models_are_refused_with_advice(tmp_path):
    content = {"model": argparse.Namespace(weights=1), "epoch": 3}
    path = write_checkpoint(tmp_path / "model.pth", content)
    message = (
        r"Objects are not read \('argparse.Namespace'\); in PyTorch, save the model's state_di"
    )
    with pytest.raises(ValueError, match=f"^{path} holds no ResNet: .*{message}"):
        keras_bt.import_torch_resnet(path)


def test_unknown_functions_are_refused_with_advice(golden_path, tmp_path):
    path = write_training(tmp_path / "bad.pth", golden_path, Calls())
    with pytest.raises(ValueError, match=r"calls 'posix.getcwd', .*; in PyTorch, save .*alone\.$"):
        keras_bt.import_torch_resnet(path)


class Calls:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bn1.bias": None, "layer4.1.conv2.weight": None},
            "any.pth holds no resnet18. Missing: bn1.bias, layer4.1.conv2.weight.",
        ),
        ({"extra.weight": (3,)}, "Unknown: extra.weight."),
        (
            {"conv1.weight": (2, 3, 5, 5)},
            r"Wrong shape: conv1.weight \[2, 3, 5, 5\] instead of \[2, 3, 3, 3\]",
        ),
        ({"conv1.weight": None}, "holds no ResNet: no weights named conv1.weight"),
        ({"layer3.1.conv1.weight": None}, r"Missing: layer3.1.conv1.weight"),
    ],
)
def test_lists_weights_that_do_not_fit(import_content, changes, message):
    shapes = torch_files.resnet_shapes("resnet18", width=2) | changes
    with pytest.raises(ValueError, match=message):
        import_content(golden_state_dict(without_none(shapes)))


@pytest.mark.slow
def test_ignores_classifier(import_content):
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    shapes |= {"fc.weight": (10, 16), "fc.bias": (10,)}
    encoder, _ = import_content(golden_state_dict(shapes))
    assert encoder.output_shape == (None, 16)


def test_rejects_other_depths(import_content):
    shapes = torch_files.resnet_shapes("resnet18", width=2)
    content = {name: shape for name, shape in shapes.items() if not name.startswith("layer3.1.")}
    with pytest.raises(ValueError, match=r"basic blocks \(2, 2, 1, 2\)"):
        import_content(golden_state_dict(content))


@pytest.mark.slow
def test_rejects_weights_that_are_not_finite(import_content):
    content = golden_state_dict(torch_files.resnet_shapes("resnet18", width=1))
    content["bn1.bias"] = StoredTensor((1,), lambda: np.array([np.nan]))
    with pytest.raises(ValueError, match="Not finite: bn1.bias"):
        import_content(content)


def test_search_ends_in_dict_that_contains_itself(tmp_path):
    content = {"epoch": 1}
    content["itself"] = content
    with pytest.raises(ValueError, match="holds no ResNet"):
        keras_bt.import_torch_resnet(write_checkpoint(tmp_path / "ring.pth", content))


@pytest.mark.parametrize(
    "changes",
    [
        {"conv1.weight": (10**6, 3, 7, 7)},
        {"conv1.weight": (10**6, 3, 7, 7), "layer4.0.conv1.weight": (8 * 10**6, 1, 1, 1)},
        {"layer4.0.conv1.weight": None},
    ],
)
def test_builds_no_network_larger_than_the_file(import_content, changes):
    shapes = torch_files.resnet_shapes("resnet18", width=2) | changes
    with pytest.raises(ValueError, match=r"holds no layer4.0.conv1.weight \[\d+, \d+, 3, 3\]"):
        import_content(golden_state_dict(without_none(shapes)))


@pytest.mark.slow
def test_builds_no_projector_larger_than_the_file(import_content, caplog):
    state = torch_files.resnet_shapes("resnet18", width=1)
    content = {f"backbone.{name}": shape for name, shape in state.items()}
    content |= {f"projector.{place}.weight": (10**6, 1) for place in (0, 3)}
    _, projector = import_content(golden_state_dict(content))
    assert projector is None
    assert "Its dense layers do not fit: inputs [1, 1], outputs [1000000, 1000000]" in caplog.text


@pytest.mark.slow
def test_warns_of_projector_of_another_kind(import_content, caplog):
    backbone = torch_files.resnet_shapes("resnet18", width=1)
    projector = torch_files.projector_shapes(8) | {"0.bias": (12,)}
    content = {f"backbone.{name}": shape for name, shape in backbone.items()}
    content |= {f"projector.{name}": shape for name, shape in projector.items()}
    encoder, projector = import_content(golden_state_dict(content))
    assert projector is None and encoder.output_shape == (None, 8)
    assert "holds no projector of the official code. Unknown: 0.bias." in caplog.text


def test_rejects_files_without_resnet(tmp_path):
    with pytest.raises(ValueError, match="holds no ResNet"):
        keras_bt.import_torch_resnet(write_checkpoint(tmp_path / "list.pth", [1, {"a": 2}]))
    with pytest.raises(FileNotFoundError):
        keras_bt.import_torch_resnet(tmp_path / "missing.pth")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_files_of_installed_pytorch_give_its_features(tmp_path, golden, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = torch_files.state_dict(torch_files.resnet_shapes(name), "module.backbone.")
    torch.save({"model": state}, tmp_path / "checkpoint.pth")
    encoder, _ = keras_bt.import_torch_resnet(tmp_path / "checkpoint.pth")
    numbers = golden("resnet.npz")
    # ResNet-101's tolerance: see test_features_equal_torchvision.
    for mode, tolerance in (("eval", 1e-4), ("train", 3e-4 if name == "resnet101" else 1e-4)):
        features = encoder(numbers["images"], training=mode == "train").numpy()
        expected = numbers[f"{name}/{mode}"]
        error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
        assert error < tolerance, mode
