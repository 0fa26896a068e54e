"""Every kind of PNG, WebP and BMP gets the same pixels in a graph and from a folder."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt.data import files
from keras_bt.data.decode import decode_image

HEIGHT, WIDTH = 9, 11
GRAY, COLOR, PALETTE, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, COLOR: 3, PALETTE: 1, GRAY_ALPHA: 2, COLOR_ALPHA: 4}
DEPTHS = {GRAY: (1, 2, 4, 8, 16), COLOR: (8, 16), PALETTE: (1, 2, 4, 8)}
# Of the passes of an interlaced PNG: the first column and row, and the steps.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
PASSES += [(0, 1, 1, 2)]


def packed(samples, depth):
    """The rows of a PNG: most significant bit first, each after a filter of 0."""
    bits = (samples.reshape(len(samples), -1, 1) >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(samples), -1).astype("uint8"), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def png(samples, depth, color_type, interlaced, palette, transparency):
    def chunk(name, body):
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    parts = [samples[y::down, x::across] for x, y, across, down in PASSES]
    rows = b"".join(packed(part, depth) for part in (parts if interlaced else [samples]))
    size_and_kind = (WIDTH, HEIGHT, depth, color_type, 0, 0, interlaced)
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", *size_and_kind))
    content += chunk(b"PLTE", palette) if palette else b""
    content += chunk(b"tRNS", transparency) if transparency else b""
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def png_and_pixels(color_type, depth, transparent, interlaced):
    """A PNG, and the pixels that it shows on white."""
    random = np.random.default_rng(depth)
    samples = random.integers(0, 2**depth, (HEIGHT, WIDTH, CHANNELS[color_type]))
    samples[0, 1] = samples[0, 0] ^ 1  # differ in the last bit only
    levels = samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)
    alpha, palette, transparency = np.full((HEIGHT, WIDTH), 255), b"", b""
    if color_type == PALETTE:
        colors = random.integers(0, 256, (2**depth, 3)).astype("uint8")
        palette, levels = colors.tobytes(), colors[samples[..., 0]]
        if transparent:
            alphas = random.integers(0, 256, 2**depth).astype("uint8")
            transparency, alpha = alphas.tobytes(), alphas[samples[..., 0]]
    elif color_type in (GRAY_ALPHA, COLOR_ALPHA):
        levels, alpha = levels[..., :-1], levels[..., -1]
    elif transparent:
        transparency = samples[0, 0].astype(">u2").tobytes()
        alpha = 255 * (samples != samples[0, 0]).any(-1)
    alpha = alpha[..., None] / 255
    shown = np.round(np.broadcast_to(levels, (HEIGHT, WIDTH, 3)) * alpha + 255 * (1 - alpha))
    return png(samples, depth, color_type, interlaced, palette, transparency), shown


KINDS = [
    (color_type, depth, transparent, interlaced)
    for color_type in CHANNELS
    for depth in DEPTHS.get(color_type, (8, 16))
    for transparent in ((False, True) if color_type in DEPTHS else (False,))
    for interlaced in (False, True)
]


@pytest.fixture(scope="module")
def in_graph():
    return tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def from_folder(path, content):
    path.write_bytes(content)
    record = files.examine(str(path))
    assert record.problem == ""
    encoded, _ = files.encoded_image(str(path), record)
    return decode_image(encoded).numpy()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_decodes_every_kind_of_png(tmp_path, in_graph, kind):
    content, shown = png_and_pixels(*kind)
    np.testing.assert_array_equal(in_graph(content), shown)
    np.testing.assert_array_equal(from_folder(tmp_path / "it.png", content), shown)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_decodes_bmp_and_webp_as_from_a_folder(tmp_path, in_graph, rng, form, mode):
    color = Image.fromarray(rng.integers(0, 256, (8, 7, 4), "uint8"))
    image = color.convert("RGB").convert(mode) if mode != "RGBA" else color
    content = encoded(image, form, **({"lossless": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(in_graph(content), from_folder(tmp_path / "it", content))


def test_refuses_what_tensorflow_cannot_decode(in_graph):
    frame = Image.new("RGB", (4, 4))
    animated = encoded(
        frame, "WEBP", save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="animated WebP"):
        in_graph(animated)
    for content in (b"", b"BM", b"RIFF", b"\x89PNG", b"RIFF\xff\xfe", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_graph(content)
