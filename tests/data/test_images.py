"""The order of images, a function of seed and epoch; squares of one size."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_bt import data
from keras_bt.functional.framing import FRAMINGS, frame


@pytest.mark.slow
def test_order_depends_on_seed_and_epoch_only(numbered, order):
    first = order(numbered, 4, seed=0)
    assert first == order(numbered, 4, seed=0)
    assert all(len(set(epoch)) == len(epoch) == 12 for epoch in first)
    assert len({tuple(epoch) for epoch in first}) == 4
    assert first[2:] == order(numbered, 2, seed=0, first_step=6)
    assert first[2][4:] == order(numbered, 1, seed=0, first_step=7)[0][:8]
    assert first != order(numbered, 4, seed=1)
    assert first[1:] != order(numbered, 3, seed=1), "seed + 1 must not be the next epoch"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 2), (2, 4)])
def test_workers_get_parts_of_the_batches_in_turn(numbered, workers, replicas):
    whole = [b["label"].numpy() for b in numbered.shuffled_batches(4, 2, seed=0).take(5)]
    whole = np.concatenate(whole).reshape(5, replicas, -1)
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, replicas)
        batches = numbered.shuffled_batches(4, 2, seed=0, context=context)
        assert batches.element_spec["image"].shape == (4 // replicas, 2, 2, 3)
        assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
        steps = replicas // workers
        own = [b["label"].numpy() for b in batches.take(5 * steps)]
        np.testing.assert_array_equal(np.reshape(own, (5, steps, -1)), whole[:, worker::workers])


@pytest.mark.parametrize("global_seed", [0, 1])
def test_global_seed_does_not_change_the_order(numbered, global_seed, order):
    expected = order(numbered, 2, seed=0)
    tf.random.set_seed(global_seed)
    assert order(numbered, 2, seed=0) == expected


def test_batches_hold_all_images_in_order(numbered):
    batches = list(numbered.batches(4, 2))
    assert [len(batch["label"]) for batch in batches] == [4, 4, 4, 2]
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == list(range(14))


def test_at_most_selects_evenly_spaced_images(numbered):
    assert numbered.at_most(14) is numbered
    for limit, kept in ((7, range(0, 14, 2)), (5, range(0, 14, 3)), (1, [0])):
        fewer = numbered.at_most(limit)
        assert fewer.count == len(kept)
        labels = [batch["label"].numpy() for batch in fewer.batches(4, 2)]
        assert np.concatenate(labels).tolist() == list(kept)


def test_chosen_images_keep_their_order_and_can_be_shuffled(numbered, order):
    chosen = numbered.chosen([9, 2, 4, 4, 13])
    assert chosen.count == 4
    for images, kept in ((chosen, [2, 4, 9, 13]), (chosen.at_most(2), [2, 9])):
        labels = [batch["label"].numpy() for batch in images.batches(3, 2)]
        assert np.concatenate(labels).tolist() == kept
    epochs = order(chosen, 6, seed=0)
    assert all(sorted(epoch) == [2, 4, 9, 13] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert order(chosen, 2, seed=0, first_step=1) == epochs[1:3]
    with pytest.raises(ValueError, match="fewer than the batch_size of 5"):
        chosen.shuffled_batches(5, 2, seed=0)


@pytest.mark.parametrize("indices", [[], [3, 14], [-1]])
def test_rejects_indices_out_of_range(numbered, indices):
    with pytest.raises(ValueError, match=r"array holds 14 images; indices must lie in 0\.\.\.13"):
        numbered.chosen(indices)


@pytest.mark.slow
@settings(max_examples=10)
@given(drawn=st.data())
def test_batches_hold_each_image_once_per_epoch_and_can_resume(drawn, order):
    count, seed = drawn.draw(st.integers(1, 20)), drawn.draw(st.integers(0, 2**31 - 2))
    batch_size = drawn.draw(st.integers(1, count))
    steps = count // batch_size
    images = data.from_arrays(np.zeros((count, 2, 2), "uint8"), labels=range(count))
    whole = order(images, 3, batch_size, seed=seed)
    assert all(len(set(epoch)) == len(epoch) == steps * batch_size for epoch in whole)
    first_step = drawn.draw(st.integers(0, 2 * steps))
    resumed = np.ravel(order(images, 1, batch_size, seed=seed, first_step=first_step))
    np.testing.assert_array_equal(
        resumed, np.ravel(whole)[first_step * batch_size :][: resumed.size]
    )


def test_rejects_a_batch_size_above_the_number_of_images(numbered):
    with pytest.raises(ValueError, match="14 images, fewer than the batch_size of 15"):
        numbered.shuffled_batches(15, 2, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batch_size": 0}, "batch_size must be at least 1"), ({"seed": -1}, "seed must be at least")],
)
def test_rejects_wrong_batch_sizes_and_seeds(numbered, arguments, message):
    with pytest.raises(ValueError, match=message):
        numbered.shuffled_batches(**{"batch_size": 4, "size": 2, "seed": 0, **arguments})


@pytest.mark.slow
@given(drawn=st.data())
def test_pixels_of_any_square_are_in_range(drawn):
    dtype = drawn.draw(st.sampled_from(["uint8", "float16", "float32", "float64"]))
    height, width, size = (drawn.draw(st.integers(1, 12)) for _ in range(3))
    rng = np.random.default_rng(drawn.draw(st.integers(0, 99)))
    extremes = rng.integers(0, 2, (height, width, 3))  # where bicubic overshoots
    largest = 255 if dtype == "uint8" else 1
    square = data.fit_square(tf.constant((extremes * largest).astype(dtype)), size)
    assert square.shape == (size, size, 3) and square.dtype == dtype
    assert 0 <= square.numpy().min() and square.numpy().max() <= largest


def test_fit_square_keeps_the_central_square(rng):
    image = rng.integers(0, 256, (10, 30, 3)).astype("uint8")
    np.testing.assert_array_equal(
        data.fit_square(tf.constant(image[:, 10:20]), 10), image[:, 10:20]
    )
    np.testing.assert_array_equal(data.fit_square(tf.constant(image), 10), image[:, 10:20])
    bands = np.zeros((40, 40, 3), "uint8")
    bands[::2] = 255  # a stripe finer than the result: antialiased to gray
    shrunk = data.fit_square(tf.constant(bands), 10).numpy()
    assert 100 < shrunk.min() and shrunk.max() < 155
    assert data.fit_square(tf.zeros([4, 4, 3]), 8).dtype == tf.float32


@pytest.fixture
def photos(tmp_path, rng):
    """A folder of twelve noisy images of three shapes, and their sizes by path."""
    sizes = {}
    for number in range(12):
        size = [(9, 12), (20, 6), (8, 8)][number % 3]
        path = tmp_path / f"{number:02}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(path)
        sizes[str(path)] = size
    return data.from_folder(tmp_path).train, sizes


def test_whole_images_come_squashed_with_their_sizes(photos):
    images, sizes = photos
    whole = images.framed("whole")
    (batch,) = whole.batches(12, 8, to_crop=True)
    assert [tuple(size) for size in batch["size"].numpy()] == list(sizes.values())
    first = tf.io.decode_png(tf.io.read_file(next(iter(sizes))))
    np.testing.assert_array_equal(batch["image"][0], frame(first, 8, "stretch"))
    (squares,) = images.batches(12, 8)
    np.testing.assert_array_equal(batch["image"][2], squares["image"][2])  # a square of this size
    shuffled = next(iter(whole.shuffled_batches(4, 8, seed=0)))
    assert shuffled["size"].shape == (4, 2) and shuffled["size"].dtype == tf.int32


@pytest.mark.parametrize("framing", FRAMINGS)
def test_evaluations_take_the_frames_of_the_framing(photos, framing):
    images, sizes = photos
    (batch,) = images.framed(framing).batches(12, 8)
    assert list(batch) == ["image"]
    for path, image in zip(sizes, batch["image"], strict=True):
        decoded = tf.io.decode_png(tf.io.read_file(path), channels=3)
        np.testing.assert_array_equal(image, frame(decoded, 8, framing))
    batch = next(iter(images.framed(framing).shuffled_batches(4, 8, seed=0)))
    assert ("size" in batch) == (framing == "whole")


def test_a_framing_stays_with_chosen_images_and_is_that_of_all_of_a_source(photos):
    images = photos[0].framed("whole")
    for some in (images, images.at_most(4), images.chosen([1, 3])):
        assert some.framing == "whole" and "size" in next(iter(some.batches(2, 8, to_crop=True)))
    assert images.framed("whole") is images
    source = data.Source("mine", photos[0], photos[0], 2, labelled=photos[0]).framed("pad")
    assert [each.framing for each in (source.train, source.test, source.labelled)] == ["pad"] * 3
    assert data.Source("mine", photos[0]).framed("pad").test is None
    with pytest.raises(ValueError, match="framing must be one of .* got 'round'"):
        source.framed("round")


def test_validation_holds_out_every_tenth_labelled_image():
    pixels = np.arange(40, dtype="uint8").reshape(-1, 1, 1, 1).repeat(3, axis=3)
    labelled = data.from_arrays(pixels[:25], range(25))
    test = data.from_arrays(pixels[25:], range(15))
    source = data.Source("mine", labelled, test, classes=25).for_validation()
    train, held_out = (_labels(images) for images in source.for_evaluation())
    assert held_out == [0, 10, 20]
    assert sorted(train + held_out) == list(range(25))
    assert (source.train.count, source.name) == (22, "mine (validation)")

    unlabelled = data.from_arrays(pixels)
    source = data.Source("more", unlabelled, test, 25, labelled=labelled).for_validation()
    assert source.train is unlabelled
    assert [images.count for images in source.for_evaluation()] == [22, 3]

    with pytest.raises(ValueError, match="more has no labels to validate with"):
        data.Source("more", unlabelled).for_validation()
    with pytest.raises(ValueError, match="holds 9 images; validation needs at least 10"):
        data.Source("few", labelled.chosen(range(9)), test).for_validation()


def _labels(images):
    return [int(label) for batch in images.batches(4, 1) for label in batch["label"]]


def test_datasets_are_not_tuned():
    """TensorFlow 2.21 takes up to a minute to delete an iterator that is; see `_without_tuning`."""
    images = data.digits().train
    for dataset in (images.batches(8, 8), images.shuffled_batches(8, 8, seed=0)):
        assert dataset.options().autotune.enabled is False


def test_the_short_side_is_that_of_most_images(tmp_path):
    for number, size in enumerate([(30, 9), (12, 40), (12, 90), (700, 12), (500, 600)]):
        Image.fromarray(np.zeros((*size, 3), "uint8")).save(tmp_path / f"{number}.png")
    assert data.from_folder(tmp_path).train.short_side() == 12
    assert data.digits().train.short_side() == 8
