import numpy as np
import pytest
import tensorflow as tf

from keras_bt.data import from_arrays, from_folder
from keras_bt.report.gallery import nearest_neighbors, save_map, save_views


def test_save_views_restores_the_random_state_of_the_views(tiny_model, images, tmp_path):
    model = tiny_model()
    before = [variable.numpy() for view in model.views for variable in view.variables]
    save_views(tmp_path / "views.npz", model, from_arrays(images), 8)
    with np.load(tmp_path / "views.npz") as arrays:
        assert {name: array.shape for name, array in arrays.items()} == dict.fromkeys(
            ("images", "view_a", "view_b"), (6, 8, 8, 3)
        )
        assert all(array.dtype == np.uint8 for array in arrays.values())
        assert (arrays["view_a"] != arrays["view_b"]).any()
    after = [variable.numpy() for view in model.views for variable in view.variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("count", "labelled"), [(2500, True), (2500, False), (100_000, True)])
def test_save_map_keeps_at_most_1000_evenly_spaced_images(rng, tmp_path, count, labelled):
    pixels = rng.integers(0, 256, (count, 4, 4, 3)).astype("uint8")
    representations = rng.normal(size=(count, 5)).astype("float32")
    kept = slice(None, None, -(-count // 1000))
    labels_and_names = ()
    if labelled:
        labels = np.arange(count) % 2
        predicted = (labels + (np.arange(count) == 7)) % 2
        labels_and_names = labels, predicted, ("cat", "dog")
    save_map(tmp_path / "map.npz", from_arrays(pixels), 4, representations, *labels_and_names)
    with np.load(tmp_path / "map.npz") as arrays:
        np.testing.assert_array_equal(arrays["representations"], representations[kept])
        np.testing.assert_array_equal(arrays["thumbnails"], pixels[kept])
        assert ("confusion" in arrays) == labelled
        if labelled:
            assert arrays["confusion"].tolist() == [[count // 2, 0], [1, count // 2 - 1]]
            np.testing.assert_array_equal(arrays["labels"], labels[kept])


def test_save_map_says_which_thumbnails_are_of_other_files(rng, tmp_path):
    for number in range(3):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype("uint8")
        content = tf.io.encode_png(pixels).numpy()
        (tmp_path / f"{number}.png").write_bytes(content[:-30] if number == 1 else content)
    images = from_folder(tmp_path).train
    save_map(tmp_path / "map.npz", images, 4, rng.normal(size=(3, 5)))
    names = np.load(tmp_path / "map.npz")["names"].tolist()
    assert names == ["0.png", "1.png (unreadable; shows another)", "2.png"]


def test_save_map_keeps_only_classes_that_occur(rng, tmp_path):
    pixels = rng.integers(0, 256, (5, 4, 4, 3)).astype("uint8")
    labels, predicted = np.array([0, 10**12, 7, 0, -1]), np.array([0, 10**12, 0, 0, 1])
    x = rng.normal(size=(5, 3)).astype("float32")
    save_map(tmp_path / "map.npz", from_arrays(pixels), 4, x, labels, predicted, ("cat", "dog"))
    with np.load(tmp_path / "map.npz") as arrays:
        assert arrays["class_names"].tolist() == ["-1", "cat", "dog", "7", "1000000000000"]
        assert arrays["labels"].tolist() == [1, 4, 3, 1, 0]
        expected = np.zeros((5, 5))
        expected[[1, 4, 3, 0], [1, 4, 1, 2]] = 2, 1, 1, 1
        np.testing.assert_array_equal(arrays["confusion"], expected)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_nearest_neighbors_have_the_highest_cosine_similarity(rng, count):
    x = rng.normal(size=(count, 5)).astype("float32")
    neighbors = nearest_neighbors(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for query, *others in neighbors:
        cosines = unit @ unit[query]
        cosines[query] = -np.inf
        expected = np.sort(cosines)[::-1][: len(others)]
        np.testing.assert_allclose(cosines[others], expected, rtol=1e-5)
