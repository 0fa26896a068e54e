"""`precision="auto"`: its rules, by patched devices and measurements."""

import re
import time

import keras
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.config import precision
from keras_bt.config.named import recipes
from keras_bt.config.precision import choose_precision, measure_bfloat16

STAGE = {"width": 4, "side": 8, "images": 16}


@pytest.fixture
def cpu(monkeypatch):
    """Sets what is known of the CPU: its flags, and the share of the time in bfloat16."""

    def cpu(flags, share=None):
        def measure(*stage):
            assert share is not None, "a measurement"
            return share

        monkeypatch.setattr(precision, "_device_type", lambda: "CPU")
        monkeypatch.setattr(precision, "cpu_flags", lambda: set(flags.split()))
        monkeypatch.setattr(precision, "measure_bfloat16", measure)

    return cpu


def test_a_cpu_without_bfloat16_is_not_measured(cpu):
    for flags in ("", "avx2 avx512f avx512_vnni amx_tile"):
        cpu(flags)
        chosen, reason = choose_precision(**STAGE)
        assert chosen == "float32"
        assert reason == (
            "auto: the CPU does not multiply in bfloat16 (neither avx512_bf16 nor amx_bf16)"
        )


@pytest.mark.parametrize("flags", ["avx512f avx512_bf16", "amx_tile amx_bf16"])
@pytest.mark.parametrize(
    ("share", "expected"), [(0.62, "mixed_bfloat16"), (0.95, "float32"), (1.3, "float32")]
)
def test_a_cpu_with_bfloat16_computes_in_it_if_that_is_clearly_faster(cpu, flags, share, expected):
    cpu(flags, share)
    chosen, reason = choose_precision(**STAGE)
    assert chosen == expected
    assert reason.endswith(f"similar networks take {share:.2f} of the time in bfloat16")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (12, 0)], "mixed_bfloat16"),
        ([(7, 5)], "float32"),
        ([(9, 0), (7, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_gpus_are_judged_by_their_compute_capability(capabilities, expected, monkeypatch):
    def details(capability):
        return {"compute_capability": capability} if capability else {}

    monkeypatch.setattr(precision, "_device_type", lambda: "GPU")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details)
    chosen, reason = choose_precision(**STAGE)
    assert chosen == expected
    assert "compute capability" in reason


def test_tpus_compute_in_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "_device_type", lambda: "TPU")
    assert choose_precision(**STAGE) == ("mixed_bfloat16", "auto: TPUs multiply in bfloat16")


def test_the_devices_are_those_of_the_strategy(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert precision._device_type() == "GPU"
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        assert precision._device_type() == "CPU"


def test_other_workers_take_the_choice_of_the_chief(cpu, monkeypatch):
    cpu("avx512_bf16")  # a measurement fails the test
    monkeypatch.setattr(precision.workers, "is_chief", lambda strategy: False)
    gathered = [["mixed_bfloat16", "auto: TPUs"], None]
    monkeypatch.setattr(precision.workers, "gather_from_workers", lambda *_: gathered)
    assert choose_precision(**STAGE) == ("mixed_bfloat16", "auto: TPUs")


def test_a_real_measurement_takes_seconds_and_draws_nothing():
    start, expected = time.monotonic(), tf.random.uniform([2]).numpy()
    keras.utils.set_random_seed(0)
    assert 0.0 < measure_bfloat16(**STAGE) < 1000.0
    assert (tf.random.uniform([2]).numpy() == expected).all()
    assert time.monotonic() - start < 60.0  # about two, on a machine without other programs


def test_a_recipe_resolves_auto_by_the_first_stage_of_its_encoder(monkeypatch):
    stages = []

    def choose(*stage):
        stages.append(stage)
        return "mixed_bfloat16", "auto: because"

    monkeypatch.setattr("keras_bt.config.recipe.choose_precision", choose)
    recipe = recipes["cifar10"].override(precision="auto", view_size=24, micro_batches=2)
    resolved = recipe.resolve_precision()
    assert resolved == recipe.override(precision="mixed_bfloat16")
    assert resolved.sources == {**recipe.sources, "precision": "auto: because"}
    assert resolved.resolve_precision() is resolved
    assert re.search("precision +mixed_bfloat16 +auto: because", resolved.describe())
    photos = keras_bt.Recipe.for_images(count=3000, image_size=70, batch_size=16)
    photos.override(precision="auto", stem="imagenet").resolve_precision()
    assert stages == [(recipe.width, 24, recipe.batch_size // 2), (64, 18, 16)]


def test_a_model_is_built_from_auto(cpu):
    cpu("amx_bf16", 0.5)
    tiny = {"width": 1, "projector_dims": (4,), "precision": "auto"}
    model = recipes["digits"].override(**tiny).build_model(seed=0)
    assert model.encoder.compute_dtype == "bfloat16"
