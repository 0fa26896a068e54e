import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt.data import from_files
from keras_bt.export.image_bytes import images_from_bytes
from keras_bt.functional.framing import FRAMINGS


def encoded(pixels, kind, mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def photo(rng):
    """A noisy gradient, wider than high."""
    y, x = np.mgrid[:37, :52]
    colors = np.stack([4 * x, 5 * y, 2 * (x + y)], -1) + rng.integers(0, 30, (37, 52, 3))
    return colors.astype("uint8")


@pytest.fixture
def files(photo, rng):
    alpha = rng.integers(0, 256, (37, 52, 1)).astype("uint8")
    return {
        "photo.jpg": encoded(photo, "JPEG", quality=90),
        "gray.jpg": encoded(photo, "JPEG", "L"),
        "photo.png": encoded(photo, "PNG"),
        "gray.png": encoded(photo, "PNG", "L"),
        "transparent.png": encoded(np.concatenate([photo, alpha], -1), "PNG"),
        "palette.png": encoded(photo, "PNG", "P"),
        "one bit.png": encoded(photo[..., 0] > 128, "PNG"),
        "small palette.png": encoded(photo % 2 * 255, "PNG", "P"),
        "photo.bmp": encoded(photo, "BMP"),
        "palette.bmp": encoded(photo, "BMP", "P"),
        "tall.jpg": encoded(photo.transpose(1, 0, 2).copy(), "JPEG"),
        "small.png": encoded(photo[:5, :7], "PNG"),
    }


@pytest.mark.slow
def test_decodes_to_the_images_of_an_evaluation(files, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in files]
    images, _ = from_files(paths, str(tmp_path))
    expected = next(iter(images.batches(len(files), size=16)))["image"].numpy() / 255
    got = tf.function(images_from_bytes)(tf.constant(list(files.values())), 16)
    assert got.dtype == tf.float32
    difference = np.abs(got.numpy() - expected).reshape(len(files), -1).max(1)
    assert (difference <= 1e-6).all(), dict(zip(files, difference, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("framing", FRAMINGS)
def test_frames_images_as_an_evaluation(files, tmp_path, framing):
    names = ["photo.png", "tall.jpg", "small.png"]
    for name in names:
        (tmp_path / name).write_bytes(files[name])
    images, _ = from_files([str(tmp_path / name) for name in names], str(tmp_path))
    expected = next(iter(images.framed(framing).batches(3, size=16)))["image"].numpy() / 255
    got = images_from_bytes(tf.constant([files[name] for name in names]), 16, framing)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_returns_empty_batch_for_no_files():
    assert images_from_bytes(tf.constant([], tf.string), 4).shape == (0, 4, 4, 3)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not an image", "cut.jpg", "cut.png"])
def test_raises_for_file_that_is_not_an_image(files, content):
    broken = files[content.replace("cut", "photo")][:300] if isinstance(content, str) else content
    with pytest.raises(tf.errors.InvalidArgumentError):
        images_from_bytes(tf.constant([files["photo.png"], broken]), 8)
