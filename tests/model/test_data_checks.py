"""Data that `fit`, `evaluate` and `predict` refuse before the first step, or in one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bt
from keras_bt.model.data_checks import check_data, checked_images, without_labels

LABELS = np.array(["cat", "dog"] * 8)


def check(x, y=None, batch_size=None, views=(), **options):
    return check_data(x, y, batch_size, views, replicas=1, micro_batches=1, **options)


def different_sizes(images):
    objects = np.empty(2, object)
    objects[:] = [images[0], images[1, :4]]
    ragged = tf.ragged.stack(list(objects))
    return {
        "a list of 2": list(objects),
        "a list of 16": list(images),
        "an array of 2 objects": objects,
        "a RaggedTensor": ragged,
        "a RaggedTensor (2": tf.data.Dataset.from_tensors(ragged),
    }


@pytest.mark.slow
def test_labels_are_dropped(tiny_model, images):
    forms = (
        ((images, LABELS), None),
        ([images, LABELS], None),
        (images, LABELS),
        ({"image": images, "label": LABELS}, None),
        (({"image": images}, LABELS), LABELS),
    )
    for x, y in forms:
        found, labels = without_labels(x, y)
        assert found is images and labels is None
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    nested = tf.data.Dataset.from_tensors(((images, LABELS), LABELS))
    model.fit((images, LABELS), validation_data=(images, LABELS), verbose=0)
    model.evaluate(images, LABELS, verbose=0)
    model.fit(nested, verbose=0)
    assert model.predict((images, LABELS), verbose=0).shape == (16, 4)


@pytest.mark.slow
def test_pairs_may_have_labels(tiny_model, images):
    model = tiny_model(None)
    model.compile("sgd", run_eagerly=True)
    model.fit((images, images[::-1]), verbose=0)
    model.fit(tf.data.Dataset.from_tensors(((images, images[::-1]), LABELS)), verbose=0)


def test_images_of_different_sizes_are_refused(images):
    for got, data in different_sizes(images).items():
        for refuse in (check, lambda x: checked_images(x, any_rank=False)):
            with pytest.raises(ValueError) as refused:
                refuse(without_labels(data)[0])
            assert f"got {got}" in str(refused.value)
            assert "\n" not in str(refused.value)


def test_extract_features_refuses_images_of_different_sizes(images):
    ragged = different_sizes(images)["a RaggedTensor (2"]
    with pytest.raises(ValueError, match="one array .* got a RaggedTensor"):
        keras_bt.extract_features(keras.layers.Flatten(), ragged)
    with pytest.raises(ValueError, match=r"in batches .*, got \(8, 8, 3\)"):
        keras_bt.extract_features(keras.layers.Flatten(), images)


def test_no_images_are_refused(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    for run in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=r"no images: got an array \(0, 8, 8, 3\)"):
            run(images[:0], verbose=0)


def pipelines(images):
    slices = tf.data.Dataset.from_tensor_slices
    yield slices(images).batch(5)
    yield slices((images, LABELS)).shuffle(16).batch(5).map(lambda x, y: x).cache().prefetch(2)
    yield slices(images).batch(5, num_parallel_calls=2).with_options(tf.data.Options())


def test_a_last_batch_of_one_image_is_known_before(images):
    for dataset in pipelines(images):
        with pytest.raises(ValueError, match="batch of 1 .of 16 images, batch_size 5.; drop it"):
            check(dataset)
        check(dataset, steps=3)
        check(dataset.filter(lambda *batch: tf.shape(batch[0])[0] > 1))
    check(tf.data.Dataset.from_tensor_slices(images).batch(5, drop_remainder=True))
    check(tf.data.Dataset.from_tensor_slices(images).repeat().batch(5))

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return images[5 * index : 5 * index + 5], LABELS[5 * index : 5 * index + 5]

    with pytest.raises(ValueError, match="batch of 1"):
        check(Batches())


@pytest.mark.slow
def test_a_late_error_is_one_line(tiny_model, images):
    model = tiny_model()
    model.compile("sgd")
    floats = images / np.float32(255)
    for late, message in ((floats[:1], "needs at least 2 images"), (floats * 9, r"in \[0, 1\]")):
        spec = tf.TensorSpec([None, 8, 8, 3], tf.float32)
        data = tf.data.Dataset.from_generator(
            lambda late=late: [floats, late], output_signature=spec
        )
        with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
            model.fit(data, verbose=0)


@pytest.mark.slow
def test_generators_are_checked_and_lose_no_batch(tiny_model, images):
    seen = []
    model = tiny_model()
    model.compile("sgd", run_eagerly=True)
    model.two_views = lambda data, two_views=model.two_views: (seen.append(1), two_views(data))[1]
    model.fit((images[part : part + 4] for part in (0, 4, 8)), steps_per_epoch=3, verbose=0)
    assert len(seen) == 3
    with pytest.raises(ValueError, match="got values in"):
        model.fit((images.astype("float32") for _ in range(2)), verbose=0)
    with pytest.raises(ValueError, match="dataset is empty"):
        model.fit((batch for batch in ()), verbose=0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_predict_refuses_floats_above_one_and_nan(tiny_model, images, jit_compile):
    model = tiny_model()
    model.compile("sgd", jit_compile=jit_compile)
    late = images / np.float32(255)
    late[-1] = np.nan
    for wrong in (images.astype("float32"), late):
        for data in (wrong, tf.data.Dataset.from_tensors(wrong)):
            with pytest.raises(ValueError, match="^[^\n]* got values in [^\n]*$"):
                model.predict(data, batch_size=4 if data is wrong else None, verbose=0)


@pytest.mark.slow
def test_monitors_refuse_floats_above_one_in_one_line(tiny_model, images):
    floats = tf.data.Dataset.from_tensors((images.astype("float32"), np.arange(16)))
    for monitor in (
        keras_bt.KNNMonitor(floats, floats),
        keras_bt.EmbeddingHealth(floats, batch_size=16),
    ):
        monitor.set_model(tiny_model())
        monitor.model.compile("sgd")
        monitor.on_train_begin()
        with pytest.raises(ValueError, match="^[^\n]* got values in [^\n]*$"):
            monitor.compute_metrics(0, {"loss": 1.0})


def test_sizes_of_squashed_images_are_checked(images):
    view = keras_bt.BarlowTwinsView(8)
    sizes = np.full((16, 2), 30)
    batch = {"image": images, "size": sizes}
    assert check(without_labels((batch, LABELS))[0], views=(view,)) == batch
    for wrong, message in (
        (sizes[:, 0], r"'size' must hold .* integers \[batch, 2\], got int64 \(16,\); rename it"),
        (np.full((16, 2), "wide"), "got string"),
        (0 * sizes, "Sizes of images must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            check({"image": images, "size": wrong}, views=(view,))
    with pytest.raises(ValueError, match=r"random_flip\w* takes no sizes"):
        check(batch, views=(view, keras.layers.RandomFlip()))


def test_predict_takes_no_sizes(images):
    found = checked_images({"image": images, "size": np.full((16, 2), 30)}, any_rank=False)
    assert found is images
