import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from keras_bt.data import reduced
from keras_bt.data.decode import decode_image
from keras_bt.data.files import UnreadableError, encoded_image, examine
from keras_bt.data.reduced import reduce_file, reduce_image, reduced_size

MOST_ERROR = 1.2  # mean, of 255


def enlarged(name):
    """A photograph of 2.5 megapixels."""
    small = Image.fromarray(load_sample_image(name))
    return small.resize((1921, 1283), Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def photo():
    return enlarged("china.jpg")


def file_of(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(encoded):
    return decode_image(tf.constant(encoded)).numpy()


def mean_error(encoded, expected):
    actual = pixels_of(encoded)
    assert actual.shape == np.asarray(expected).shape
    return np.abs(actual.astype(float) - np.asarray(expected)).mean()


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize(
    ("load_size", "most", "most_beside_lanczos"),
    [(32, 0.6, 1.5), (64, 0.6, 1.6), (96, MOST_ERROR, 1.7), (224, MOST_ERROR, 1.7)],
)
def test_error_against_the_reduction_of_all_pixels(name, load_size, most, most_beside_lanczos):
    """Decoding at a part of the size, and the encoding, change little."""
    encoded = file_of(enlarged(name), quality=92)
    whole = Image.open(io.BytesIO(encoded)).convert("RGB")
    found = reduce_image(encoded, load_size)
    assert (found.height, found.width) == (1283, 1921)
    filters = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
    size = reduced_size(1921, 1283, load_size)
    errors = [mean_error(found.encoded, whole.resize(size, filter)) for filter in filters]
    assert errors[0] < most and errors[1] < most_beside_lanczos, errors


def test_decoding_at_a_part_of_the_size_is_used_and_keeps_the_geometry(monkeypatch):
    """Sides that eight does not divide: a white bar stays where it is."""
    pixels = np.zeros((1283, 1921, 3), "uint8")
    pixels[1180:, :] = pixels[:, 1800:] = 255
    encoded = file_of(Image.fromarray(pixels), quality=95)
    ratios = []
    decode = reduced._decode_jpeg
    monkeypatch.setattr(
        reduced, "_decode_jpeg", lambda e, ratio: ratios.append(ratio) or decode(e, ratio)
    )
    found = pixels_of(reduce_image(encoded, 64).encoded)
    expected = Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC)
    assert ratios == [8]
    assert np.abs(found.astype(float) - np.asarray(expected)).max() < 40
    assert [reduced._decoding_ratio((1280, 640), (w, w // 2)) for w in (80, 81, 160, 320, 321)] == [
        8,
        4,
        4,
        2,
        1,
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_a_viewer_shows_them(photo, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo.jpg"
    photo.save(file, quality=95, exif=exif)
    encoded, _ = encoded_image(str(file), examine(str(file)))
    shown = pixels_of(encoded)
    found = reduce_image(file.read_bytes(), 96)
    assert (found.height, found.width) == shown.shape[:2]
    size = reduced_size(found.width, found.height, 96)
    expected = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC)
    assert mean_error(found.encoded, expected) < MOST_ERROR


@pytest.mark.parametrize("kind", ["cmyk", "gray", "transparent", "gif", "bmp", "webp", "16 bits"])
def test_odd_images_look_as_they_do_without_preparation(kind, photo, tmp_path):
    small = photo.resize((300, 200))
    alpha = Image.linear_gradient("L").resize(small.size)
    image, suffix = {
        "cmyk": (small.convert("CMYK"), "jpg"),
        "gray": (small.convert("L"), "jpg"),
        "transparent": (Image.merge("RGBA", (*small.split(), alpha)), "png"),
        "gif": (small, "gif"),
        "bmp": (small, "bmp"),
        "webp": (small, "webp"),
        "16 bits": (Image.fromarray(np.asarray(small.convert("L")).astype("uint16") * 257), "png"),
    }[kind]
    file = tmp_path / f"image.{suffix}"
    image.save(file)
    encoded, _ = encoded_image(str(file), examine(str(file)))
    expected = Image.fromarray(pixels_of(encoded)).resize((96, 64), Image.Resampling.BICUBIC)
    found = reduce_image(file.read_bytes(), 64)
    assert (found.height, found.width) == (200, 300)
    assert mean_error(found.encoded, expected) < 0.01


def test_images_that_need_no_change_stay_as_they_are(photo):
    for encoded in (
        file_of(photo.resize((64, 70)), quality=80),
        file_of(photo.resize((20, 30)), "PNG"),
    ):
        assert reduce_image(encoded, 64).encoded == encoded
    gif = file_of(photo.resize((20, 30)), "GIF")
    assert reduce_image(gif, 64).encoded.startswith(b"\x89PNG")


def test_small_images_lose_nothing(photo):
    png = file_of(photo.resize((300, 200)), "PNG")
    expected = photo.resize((300, 200)).resize((96, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels_of(reduce_image(png, 64).encoded), expected)


def test_extreme_shapes_are_bounded(photo):
    found = reduce_image(file_of(photo.resize((3000, 30)), "PNG"), 20)
    assert pixels_of(found.encoded).shape == (2, 160, 3)
    assert (found.height, found.width) == (30, 3000)


def test_damaged_and_changed_files_are_refused(photo, tmp_path):
    file = tmp_path / "photo.jpg"
    encoded = file_of(photo)

    def refusal(size_and_time=None):
        status = file.stat()
        size_and_time = size_and_time or (status.st_size, status.st_mtime_ns)
        with pytest.raises(UnreadableError) as error:
            reduce_file(str(file), 64, 10**8, size_and_time)
        return str(error.value)

    file.write_bytes(encoded[: len(encoded) // 2])
    assert refusal() == "damaged or cut off"
    file.write_bytes(b"")
    assert refusal() == "empty file"
    file.write_text("text")
    assert refusal().startswith("not a JPEG")
    file.write_bytes(encoded)
    assert "changed while" in refusal((len(encoded), 1))
    with pytest.raises(UnreadableError, match="max_pixels is 100"):
        reduce_file(str(file), 64, 100, (len(encoded), file.stat().st_mtime_ns))
    file.unlink()
    with pytest.raises(UnreadableError, match="no such file"):
        reduce_file(str(file), 64, 100, (len(encoded), 1))
