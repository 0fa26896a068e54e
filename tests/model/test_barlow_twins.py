"""`BarlowTwins` in `fit`, `evaluate` and `predict`, and its step against one written by hand."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.functional import invariance_and_redundancy


def random_pairs(rng, count=16):
    view_a = rng.uniform(size=(count, 8, 8, 3)).astype("float32")
    return view_a, np.clip(view_a + rng.normal(0, 0.1, view_a.shape), 0, 1).astype("float32")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="graph"),
        pytest.param({"run_eagerly": True}, id="eager", marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, id="xla", marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 2}, id="two_steps", marks=pytest.mark.slow),
    ],
)
def test_fit_lowers_the_loss(tiny_model, images, options):
    model = tiny_model(keras_bt.small_image_views(8, seed=0, jitter_rate=0.0))
    model.compile(keras.optimizers.Adam(0.02), **options)
    assert model.jit_compile == options.get("jit_compile", False)
    history = model.fit(images, batch_size=8, epochs=12, verbose=0).history
    assert sorted(history) == ["invariance", "loss", "redundancy"]
    assert np.mean(history["loss"][-3:]) < 0.8 * history["loss"][0]


@pytest.mark.slow
def test_eager_graph_and_xla_train_alike(tiny_model, images):
    losses = []
    for options in ({}, {"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(0)
        model = tiny_model()
        model.compile(keras_bt.LARS(0.1), **options)
        losses.append(model.fit(images, batch_size=8, epochs=2, shuffle=False, verbose=0).history)
    for other in losses[1:]:
        np.testing.assert_allclose(other["loss"], losses[0]["loss"], rtol=1e-3)


@pytest.mark.slow
def test_train_step_matches_one_written_by_hand(tiny_model, rng):
    view_a, view_b = random_pairs(rng)
    model, twin = tiny_model(None), tiny_model(None)
    twin.set_weights(model.get_weights())
    model.compile(keras.optimizers.SGD(0.1), keras_bt.BarlowTwinsLoss(0.02))
    logs = model.train_on_batch(view_a, view_b, return_dict=True)

    with tf.GradientTape() as tape:
        z_a = twin.projector(twin.encoder(view_a, training=True), training=True)
        z_b = twin.projector(twin.encoder(view_b, training=True), training=True)
        invariance, redundancy = invariance_and_redundancy(z_a, z_b)
        loss = invariance + 0.02 * redundancy
    gradients = tape.gradient(loss, twin.trainable_variables)
    for variable, gradient in zip(twin.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.1 * gradient)

    expected = {"loss": loss, "invariance": invariance, "redundancy": redundancy}
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5)
    for actual, weight in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(actual, weight, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_loss_includes_regularization(tiny_model, rng):
    view_a, view_b = random_pairs(rng)
    plain = tiny_model(None)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.5)),
        ]
    )
    model = keras_bt.BarlowTwins(encoder, plain.projector, None)
    model.compile(keras.optimizers.SGD(0.0), keras_bt.BarlowTwinsLoss(0.02))
    logs = model.train_on_batch(view_a, view_b, return_dict=True)
    penalty = 0.5 * np.sum(np.square(encoder.layers[-1].kernel.numpy()))
    assert penalty > 0.1
    np.testing.assert_allclose(
        logs["loss"], logs["invariance"] + 0.02 * logs["redundancy"] + penalty, rtol=1e-5
    )


@pytest.mark.slow
def test_all_forms_of_data_train_alike(tiny_model, images):
    labels = np.arange(16)
    forms = {
        "array": images,
        "tuple": tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
        "dict": tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}).batch(8),
        "floats": tf.data.Dataset.from_tensor_slices(images / np.float32(255)).batch(8),
    }
    losses = {}
    for name, data in forms.items():
        keras.utils.set_random_seed(0)
        model = tiny_model()
        model.compile("sgd")
        size = {"batch_size": 8, "shuffle": False} if name == "array" else {}
        losses[name] = model.fit(data, verbose=0, **size).history["loss"]
    for name in forms:
        np.testing.assert_allclose(losses[name], losses["array"], rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_accepts_a_dict_with_separate_labels(tiny_model, images):
    data = tf.data.Dataset.from_tensors(({"image": images}, np.arange(16)))
    model = tiny_model()
    model.compile("sgd")
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()


@pytest.mark.slow
def test_evaluate_does_not_change_the_encoder(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    before = [weight.copy() for weight in model.encoder.get_weights()]
    logs = model.evaluate(images, batch_size=8, verbose=0, return_dict=True)
    assert sorted(logs) == ["invariance", "loss", "redundancy"]
    for weight, value in zip(model.encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_predict_returns_features(tiny_model, images):
    model = tiny_model()
    expected = model.encoder(images / np.float32(255), training=False)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)
    dataset = tf.data.Dataset.from_tensors({"image": images})
    np.testing.assert_allclose(model.predict(dataset, verbose=0), expected, atol=1e-6)


def test_reloaded_model_continues_training(tiny_model, images, tmp_path):
    model = tiny_model()
    loss = keras_bt.BarlowTwinsLoss(0.01, form="gram")
    model.compile(keras_bt.LARS(0.1, momentum=0.5), loss, hold_nonfinite=True)
    model.fit(images, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.step_guard is not None
    assert reloaded.loss.get_config() == model.loss.get_config()
    np.testing.assert_array_equal(
        reloaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    both = [
        m.fit(images, batch_size=8, shuffle=False, verbose=0).history for m in (model, reloaded)
    ]
    np.testing.assert_allclose(both[0]["loss"], both[1]["loss"], rtol=1e-5)


@pytest.mark.slow
def test_trains_in_mixed_bfloat16(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = keras_bt.resnet18((8, 8, 3), width=4, stem="small")
        model = keras_bt.BarlowTwins(
            encoder, keras_bt.projector(32, (16, 8)), keras_bt.paper_views(8, seed=0)
        )
        assert encoder(images / np.float32(255)).dtype == tf.bfloat16
        model.compile(keras.optimizers.Adam(0.01))
        history = model.fit(images, batch_size=16, epochs=8, verbose=0).history["loss"]
        assert np.isfinite(history).all() and min(history[-3:]) < history[0]
        assert all(weight.dtype == "float32" for weight in model.trainable_variables)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_mixed_float16_scales_the_loss(tiny_model, images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tiny_model()
        model.compile(keras.optimizers.Adam(0.01))
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        history = model.fit(images, batch_size=8, epochs=3, verbose=0).history["loss"]
        assert np.isfinite(history).all()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_trains_an_encoder_of_keras_applications(rng):
    backbone = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, include_top=False
    )
    encoder = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(2.0, offset=-1.0),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model = keras_bt.BarlowTwins(
        encoder, keras_bt.projector(1280, (16,)), keras_bt.small_image_views(32, seed=0)
    )
    model.compile("sgd")
    photos = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    assert np.isfinite(model.fit(photos, batch_size=8, verbose=0).history["loss"]).all()
    assert model.predict(photos, verbose=0).shape == (8, 1280)


@pytest.mark.slow
def test_fit_builds_a_subclassed_encoder(images, tmp_path):
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(5)

        def call(self, inputs, training=False):
            return self.dense(keras.ops.reshape(inputs, (-1, 192)))

    projector = keras.Sequential([keras.layers.Dense(4)])
    model = keras_bt.BarlowTwins(Encoder(), projector, keras_bt.small_image_views(8))
    model.compile("sgd")
    assert not model.built
    model.fit(images, batch_size=8, verbose=0)
    assert model.built and len(model.trainable_variables) == 4
    before = projector.get_weights()[0].copy()
    model.fit(images, batch_size=8, verbose=0)
    assert np.abs(projector.get_weights()[0] - before).max() > 0
    model.save(tmp_path / "model.keras")
    assert model.predict(images, verbose=0).shape == (16, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "view",
    [
        lambda: keras_cv.layers.RandomColorJitter((0, 1), 0.4, 0.4, 0.4, 0.1),
        lambda: keras.layers.RandomFlip("horizontal"),
        lambda: keras.layers.GaussianNoise(0.1),
        lambda: keras.Sequential([keras.layers.RandomTranslation(0.2, 0.2)]),
    ],
    ids=["keras_cv", "keras", "keras_training_only", "sequential"],
)
def test_any_layer_can_be_a_view(tiny_model, images, view):
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            tf.py_function(lambda x: seen.append(x.numpy()), [inputs], [])
            return inputs

    model = tiny_model((keras.Sequential([view(), Spy()]), keras.Sequential([Spy()])))
    model.compile("sgd")
    model.fit(images, batch_size=16, shuffle=False, verbose=0)
    augmented, untouched = sorted(seen, key=lambda x: np.abs(x - images / 255).max())[::-1]
    np.testing.assert_allclose(untouched, images / 255, atol=1e-6)
    assert np.abs(augmented - images / 255).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((8, 8, 8, 3), 200.0, "float32"), r"in \[0, 1\].*\[200, 200\]"),
        (np.zeros((8, 8, 3), "uint8"), r"\[batch, height, width, 3\], got \(8, 8, 3\)"),
        (np.zeros((1, 8, 8, 3), "uint8"), "at least 2 images, got a batch of 1"),
        ({"picture": np.zeros((8, 8, 8, 3), "uint8")}, r"key 'image', got \['picture'\]"),
        (tf.data.Dataset.from_tensors({"picture": tf.zeros([8, 8, 8, 3])}), r"key 'image'"),
        (tf.data.Dataset.from_tensors(np.zeros((4, 8, 8, 3))).take(0), "dataset is empty"),
    ],
    ids=["range", "rank", "batch_of_1", "dict", "dataset_of_dicts", "empty"],
)
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_wrong_images_raise_before_training(tiny_model, data, message, jit_compile):
    model = tiny_model()
    model.compile("sgd", jit_compile=jit_compile)
    with pytest.raises(ValueError, match=message):
        model.fit(data, batch_size=None if isinstance(data, tf.data.Dataset) else 8, verbose=0)


def test_integer_images_raise(tiny_model):
    model = tiny_model()
    model.compile("sgd")
    with pytest.raises(TypeError, match="uint8.*got dtype int64"):
        model.fit(np.zeros((8, 8, 8, 3), "int64"), verbose=0)


def test_without_views_data_must_be_pairs(tiny_model, images):
    model = tiny_model(None)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"views=None.*pairs.*\(16, 8, 8, 3\)"):
        model.fit(images, verbose=0)


def test_wrong_networks_and_views_raise(tiny_model):
    model = tiny_model()
    encoder, projector, views = model.encoder, model.projector, model.views
    unpooled = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    cases = [
        ((unpooled, projector, views), ValueError, r"\[batch, features\], got \(None, 6, 6, 4\)"),
        ((encoder, keras_bt.projector(5, (4,)), views), ValueError, "takes 5 features.*returns 4"),
        ((encoder, projector, views[:1]), ValueError, r"views must be a pair"),
        ((encoder, projector, (views[0], abs)), TypeError, "view must be a Keras layer"),
        ((encoder, None, views), TypeError, "projector must be a Keras model or layer, got None"),
    ]
    for arguments, error, message in cases:
        with pytest.raises(error, match=message):
            keras_bt.BarlowTwins(*arguments)


def encoders_of_another_form():
    images, others = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    first = keras.Input((3, None, None))
    maps = keras.layers.Conv2D(4, 3)(images)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    sums = keras.layers.Add()([keras.layers.Conv2D(4, 3)(others), maps])
    channels = keras.layers.GlobalAveragePooling2D(data_format="channels_first")(first)
    one_tensor = r"must return one tensor \[batch, features\], got .*choose one"
    return [
        (keras.Model(images, {"map": maps, "features": pooled}), one_tensor),
        (keras.Model(images, [maps, pooled]), one_tensor),
        (keras.Model([images, others], keras.layers.Flatten()(sums)), "must take one tensor"),
        (
            keras.Model(first, channels),
            r"must take .*, got \(None, 3, None, None\), channels first; put .*Permute",
        ),
    ]


@pytest.mark.slow
def test_encoders_of_another_form_are_refused_everywhere(tiny_model, images, tmp_path):
    batches = tf.data.Dataset.from_tensors(images)
    for encoder, message in encoders_of_another_form():
        for refuse in (
            lambda encoder: keras_bt.BarlowTwins(encoder, tiny_model().projector, None),
            lambda encoder: keras_bt.export_encoder(encoder, tmp_path / "encoder"),
            lambda encoder: keras_bt.extract_features(encoder, batches),
        ):
            with pytest.raises(ValueError, match=f"^The encoder {message}[^\n]*$"):
                refuse(encoder)


@pytest.mark.slow
def test_a_subclassed_encoder_of_another_form_is_refused_at_the_first_call(tiny_model, images):
    class Encoder(keras.Model):
        def call(self, inputs, training=False):
            return {"features": inputs[:, 0, 0]}

    model = keras_bt.BarlowTwins(Encoder(), keras_bt.projector(3, (4,)), tiny_model().views)
    model.compile("sgd")
    for run in (
        lambda: model.fit(images, verbose=0),
        lambda: keras_bt.extract_features(Encoder(), tf.data.Dataset.from_tensors(images)),
    ):
        with pytest.raises(ValueError, match=r"^The encoder must return one tensor[^\n]*$"):
            run()


def test_views_with_one_seed_or_one_layer_raise(tiny_model):
    view = keras_bt.BarlowTwinsView(8, seed=3)
    twin = keras_bt.BarlowTwinsView(8, seed=3, blur_rate=0.1)
    with pytest.raises(ValueError, match="have the same seed, 3, and draw the same numbers"):
        tiny_model((view, twin))
    with pytest.raises(ValueError, match="are one layer, got it twice; make two layers"):
        tiny_model((view, view))
    tiny_model((keras.layers.RandomFlip(seed=3), twin))  # other draws


def test_a_file_with_two_views_of_one_seed_loads(tiny_model):
    config = tiny_model("published").get_config()
    config["views"][1]["config"]["seed"] = config["views"][0]["config"]["seed"]
    seeds = [view.seed for view in keras_bt.BarlowTwins.from_config(config).views]
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    "made", ["trained", *(pytest.param(m, marks=pytest.mark.slow) for m in ("loaded", "predicted"))]
)
def test_export_writes_what_the_model_returns(tiny_model, images, tmp_path, made):
    model = tiny_model()
    model.compile("sgd")
    if made == "predicted":
        model.predict(images, verbose=0)
    else:
        model.fit(images, verbose=0)
    if made == "loaded":
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    served = loaded.serve(images / np.float32(255))
    np.testing.assert_allclose(served, model(images), atol=1e-6)


@pytest.mark.slow
def test_hdf5_is_refused_and_harms_nothing(tiny_model, images, tmp_path):
    model = tiny_model()
    model.compile("sgd")
    for save, name in (
        (model.save, "a.h5"),
        (model.save, "a.hdf5"),
        (lambda path: keras.saving.save_model(model, path), "b.h5"),
    ):
        with pytest.raises(ValueError, match=r"^BarlowTwins cannot be saved as HDF5;.* in \.keras"):
            save(tmp_path / name)
    assert not (tmp_path / "a.h5").exists()
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.SGD)
    model.save_weights(tmp_path / "a.weights.h5")
    loaded.load_weights(tmp_path / "a.weights.h5")


def test_metrics_and_loss_weights_raise(tiny_model):
    with pytest.raises(ValueError, match="takes no metrics"):
        tiny_model().compile("sgd", metrics=["accuracy"])
    with pytest.raises(ValueError, match="takes no loss_weights"):
        tiny_model().compile("sgd", loss_weights=[5.0])


def test_sample_weights_raise(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    with pytest.raises(ValueError, match="cannot be weighted"):
        model.fit(images, sample_weight=np.ones(16), verbose=0)


@pytest.mark.slow
def test_batch_size_is_the_third_argument_of_fit(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    model.fit(images, None, 4, verbose=0)
    assert model.optimizer.iterations.numpy() == 4


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_last_batch_of_one_image_raises_before_training(tiny_model, images, jit_compile):
    model = tiny_model()
    model.compile("sgd", jit_compile=jit_compile)
    for run in (
        lambda: model.fit(images, batch_size=5, verbose=0),
        lambda: model.evaluate(images, batch_size=5, verbose=0),
        lambda: model.evaluate(images[:1], verbose=0),
        lambda: model.fit(images, batch_size=8, validation_data=images[:1], verbose=0),
    ):
        with pytest.raises(ValueError, match="needs at least 2 images, got a batch of 1"):
            run()
    assert np.isfinite(model.fit(images, batch_size=7, verbose=0).history["loss"]).all()
    dataset = tf.data.Dataset.from_tensors(np.repeat(images, 3, axis=0)[:33])
    assert np.isfinite(model.evaluate(dataset, verbose=0)).all()


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_pixels_out_of_range_raise_in_all_forms_of_data(tiny_model, images, jit_compile):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (images.astype("float32"),)

    late = images.astype("float32") / 255
    late[-1] = 200.0
    model = tiny_model()
    model.compile("sgd", jit_compile=jit_compile)
    for run in (
        lambda: model.fit(late, batch_size=8, verbose=0),
        lambda: model.evaluate(late, batch_size=8, verbose=0),
        lambda: model.fit(Batches(), verbose=0),
    ):
        with pytest.raises(ValueError, match=r"in \[0, 1\].*got values in"):
            run()


def test_other_losses_raise(tiny_model):
    with pytest.raises(TypeError, match=r"BarlowTwinsLoss, got 'mse'"):
        tiny_model().compile("sgd", loss="mse")


@pytest.mark.slow
def test_trains_on_one_mirrored_replica(tiny_model, images):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = tiny_model()
        model.compile("sgd")
    assert np.isfinite(model.fit(images, batch_size=8, verbose=0).history["loss"]).all()


@pytest.mark.slow
def test_fit_validates(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    history = model.fit(images, batch_size=8, validation_data=images[:8], verbose=0).history
    assert {"val_loss", "val_invariance", "val_redundancy"} <= set(history)


@pytest.mark.slow
def test_compiled_training_repeats_bit_for_bit(tiny_model, images):
    """The option `--deterministic` relies on this."""
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = tiny_model(keras_bt.paper_views(8, seed=0))
        model.compile(keras.optimizers.AdamW(0.01), jit_compile=True)
        model.fit(images, batch_size=8, epochs=20, shuffle=False, verbose=0)
        runs.append(model.get_weights())
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)
