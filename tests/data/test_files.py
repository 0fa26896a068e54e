"""Every type of file is read as a viewer shows it, or reported as bad."""

import errno
import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bt import data
from keras_bt.data import files
from keras_bt.data.decode import decode_image

SIDE = 12
RANDOM = np.random.default_rng(7)
SMOOTH = np.add.outer(np.arange(SIDE), np.arange(SIDE))[..., None] * np.array([9, 5, 2])
COLORS = np.uint8(SMOOTH + RANDOM.integers(0, 40, (SIDE, SIDE, 3)))
GRAY = COLORS[..., 0]
ALPHA = np.uint8(RANDOM.integers(0, 256, (SIDE, SIDE)))
DEEP = np.uint16(RANDOM.integers(0, 2**16, (SIDE, SIDE, 3)))


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(width, height, depth, color_type, rows, chunks=b""):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    inner = chunk(b"IHDR", header) + (chunk(*chunks) if chunks else b"")
    inner += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + inner


def on_white(colors, alpha):
    alpha = alpha[..., None] / 255
    return colors * alpha + 255 * (1 - alpha)


def gray(levels):
    return np.repeat(np.asarray(levels)[..., None], 3, axis=-1)


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def turned(image, orientation):
    """The image as a viewer shows it, if a camera stored it with this EXIF orientation."""
    row_first = [None, "tl", "tr", "br", "bl", "lt", "rt", "rb", "lb"][orientation]
    image = np.swapaxes(image, 0, 1) if row_first[0] in "lr" else image
    vertical, horizontal = sorted(row_first, key="tblr".index)
    image = image[::-1] if vertical == "b" else image
    return image[:, ::-1] if horizontal == "r" else image


def good():
    """By name: the bytes of a file, and the pixels that a viewer shows."""
    color, level = Image.fromarray(COLORS), Image.fromarray(GRAY)
    jpeg = encoded(color, "JPEG", quality=90)
    files = {
        "color.jpg": (jpeg, decoded(jpeg)),
        "a png.jpg": (encoded(color, "PNG"), COLORS),
        "color.png": (encoded(color, "PNG"), COLORS),
        "color.bmp": (encoded(color, "BMP"), COLORS),
        "color.webp": (encoded(color, "WEBP", lossless=True), COLORS),
        "gray.png": (encoded(level, "PNG"), gray(GRAY)),
        "gray.bmp": (encoded(level, "BMP"), gray(GRAY)),
        "one bit.png": (encoded(Image.fromarray(GRAY > 90), "PNG"), gray((GRAY > 90) * 255)),
        "one bit.bmp": (encoded(Image.fromarray(GRAY > 90), "BMP"), gray((GRAY > 90) * 255)),
        "deep gray.png": (
            tf.io.encode_png(DEEP[..., :1]).numpy(),
            gray(DEEP[..., 0] // 256),
        ),
        "deep color.png": (tf.io.encode_png(DEEP).numpy(), DEEP // 256),
        "one pixel.png": (encoded(color.crop((0, 0, 1, 1)), "PNG"), COLORS[:1, :1]),
        "long.png": (
            encoded(Image.new("RGB", (20000, 1), (9, 8, 7)), "PNG"),
            np.full((1, 20000, 3), (9, 8, 7)),
        ),
    }
    for name, options in (("progressive", {"progressive": True}), ("full", {"subsampling": 0})):
        content = encoded(color, "JPEG", **options)
        files[f"{name}.jpg"] = (content, decoded(content))
    for mode in ("L", "CMYK"):
        content = encoded(color.convert(mode), "JPEG")
        files[f"{mode}.jpg"] = (content, decoded(content))

    clear = Image.fromarray(np.dstack([COLORS, ALPHA]))
    files["alpha.png"] = (encoded(clear, "PNG"), on_white(COLORS, ALPHA))
    clear.putalpha(Image.fromarray(np.uint8(ALPHA > 99) * 255))
    files["alpha.webp"] = (
        encoded(clear, "WEBP", lossless=True),
        on_white(COLORS, np.uint8(ALPHA > 99) * 255),
    )
    files["gray alpha.png"] = (
        encoded(Image.merge("LA", (level, Image.fromarray(ALPHA))), "PNG"),
        on_white(gray(GRAY), ALPHA),
    )
    palette = Image.fromarray(GRAY % 16).convert("P")
    palette.putpalette(COLORS.reshape(-1)[:48].tolist())
    seen = COLORS.reshape(-1, 3)[GRAY % 16]
    files["palette.png"] = (encoded(palette, "PNG"), seen)
    files["palette.bmp"] = (encoded(palette, "BMP"), seen)
    files["palette.gif"] = (encoded(palette, "GIF"), seen)
    levels = np.arange(16) * 17
    files["palette alpha.png"] = (
        encoded(palette, "PNG", transparency=bytes(levels.tolist())),
        on_white(seen, levels[GRAY % 16]),
    )
    files["palette hole.gif"] = (
        encoded(palette, "GIF", transparency=3),
        np.where(gray(GRAY % 16 == 3), 255, seen),
    )
    rows = b"".join(b"\0" + row.tobytes() for row in DEEP[..., 0].astype(">u2"))
    files["deep hole.png"] = (
        png(SIDE, SIDE, 16, 0, rows, (b"tRNS", struct.pack(">H", DEEP[0, 0, 0]))),
        np.where(gray(DEEP[..., 0] == DEEP[0, 0, 0]), 255, gray(DEEP[..., 0] // 256)),
    )
    black = Image.new("RGB", color.size)
    for form, options in (("GIF", {}), ("WEBP", {"lossless": True})):
        first = palette.convert("RGB")
        content = encoded(first, form, save_all=True, append_images=[black, first], **options)
        files[f"animated.{form.lower()}"] = (content, seen)
    for orientation in range(1, 9):
        wide = color.crop((0, 0, SIDE, SIDE - 4))
        content = encoded(wide, "JPEG", exif=exif(orientation))
        files[f"turned {orientation}.jpg"] = (content, turned(decoded(content), orientation))
        content = encoded(wide, "PNG", exif=exif(orientation))
        files[f"turned {orientation}.png"] = (content, turned(COLORS[:-4], orientation))
    for name in (
        'it\'s "quoted"',
        "two\nlines",
        "[a-z]*?{}",
        "Ünï 猫 قط",
        os.fsdecode(b"\xff\xfe"),
    ):
        files[f"{name}.png"] = (encoded(color, "PNG"), COLORS)
    return files


def bad():
    """By name: the bytes of a file, and a pattern of the reported problem."""
    big = Image.fromarray(np.uint8(RANDOM.integers(0, 256, (64, 64, 3))))
    files = {
        "nothing.jpg": (b"", "empty file"),
        "text.jpg": (b"not a picture", "not a JPEG, PNG, BMP, GIF or WebP image"),
        "a tiff.png": (encoded(big, "TIFF"), "not a JPEG, PNG, BMP, GIF or WebP image"),
        "bomb.png": (png(60000, 60000, 8, 2, b""), "60000 x 60000 pixels|limit of"),
        "large.png": (png(9500, 9500, 8, 2, b""), "9500 x 9500 pixels; max_pixels is 89478485"),
        "flat.png": (png(0, 5, 8, 2, b""), "."),
    }
    bmp = bytearray(encoded(big, "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    files["bomb.bmp"] = (bytes(bmp), "60000 x 60000 pixels|limit of")
    for form in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
        content = encoded(big, form)
        for part in (0.1, 0.5, 0.9):
            files[f"{part}.{form.lower()}"] = (content[: int(part * len(content))], ".")
    for form, options in (("JPEG", {}), ("JPEG", {"exif": exif(6)}), ("PNG", {})):
        content = encoded(big, form, **options)
        name = f"{form.lower()} {len(options)}"
        files[f"its end, {name}.jpg"] = (content[:-2], "damaged or cut off")
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 255
        if form == "PNG":  # the only format of the three with checksums
            files[f"a byte, {name}.png"] = (bytes(flipped), "damaged or cut off")
    return files


GOOD, BAD = good(), bad()


@pytest.fixture
def written(tmp_path):
    def write(content, name="it"):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


def pixels(path, record=None):
    record = record or files.examine(path)
    assert record.problem == ""
    encoded, _ = files.encoded_image(path, record)
    return np.int64(decode_image(encoded))


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_reads_images_as_a_viewer_shows_them(written, name):
    content, seen = GOOD[name]
    decoded = pixels(written(content, name))
    tolerance = 0 if np.issubdtype(seen.dtype, np.integer) else 1  # transparency is rounded
    np.testing.assert_allclose(decoded, seen, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # like `scan`
@pytest.mark.parametrize("name", BAD)
def test_reports_bad_images_in_a_few_words(written, name):
    content, problem = BAD[name]
    record = files.examine(written(content))
    assert record.kind == "bad" and 0 < len(record.problem) < 120
    assert re.search(problem, record.problem), record.problem


HEADER_SHOWS = {"nothing.jpg", "text.jpg", "a tiff.png", "bomb.png", "bomb.bmp", "large.png"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # like `scan`
@pytest.mark.parametrize("name", BAD)
def test_damage_that_the_header_hides_is_met_when_the_file_is_read(written, name):
    content, problem = BAD[name]
    path = written(content)
    record = files.examine_header(path)
    if name in HEADER_SHOWS:
        assert record.kind == "bad" and re.search(problem, record.problem)
    if record.kind == "unread":
        assert (record.size_bytes, record.checksum, record.problem) == (len(content), 0, "")
        with pytest.raises(files.UnreadableError, match=problem):
            files.encoded_image(path, record)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_an_unread_file_is_examined_once(written, name, monkeypatch):
    path = written(GOOD[name][0], name)
    unread, whole = files.examine_header(path), files.examine(path)
    assert unread.kind == "unread" and unread[:2] == whole[:2]
    encoded, record = files.encoded_image(path, unread)
    assert record == whole
    monkeypatch.setattr(files, "_examine", None)
    assert files.encoded_image(path, record) == (encoded, record)


def test_the_check_of_a_header_decodes_nothing(written, monkeypatch):
    noise = RANDOM.integers(0, 256, (500, 500, 3), "uint8")
    path = written(encoded(Image.fromarray(noise), "PNG"))
    checked = []
    monkeypatch.setattr(files, "check_decodes", checked.append)
    assert files.examine_header(path).kind == "unread" and not checked
    assert files.examine(path).kind == "plain" and len(checked) == 1


def test_very_large_images_are_decoded_at_full_size(monkeypatch):
    decode, ratios = tf.io.decode_jpeg, []

    def note(content, ratio=1, **options):
        ratios.append(ratio)
        return decode(content, ratio=ratio, **options)

    monkeypatch.setattr(tf.io, "decode_jpeg", note)
    files.check_decodes(GOOD["color.jpg"][0])
    monkeypatch.setattr(files, "LARGE_REDUCED", 2 * 2 * 3 - 1)
    files.check_decodes(GOOD["color.jpg"][0])
    assert ratios == [8, 8, 1]


def test_tensorflow_decodes_most_files(written):
    kinds = {name: files.examine(written(content)).kind for name, (content, _) in GOOD.items()}
    plain = {name for name, kind in kinds.items() if kind == "plain"}
    assert {"color.jpg", "a png.jpg", "L.jpg", "alpha.png", "deep color.png"} <= plain
    assert not plain & {"CMYK.jpg", "turned 6.jpg", "turned 6.png", "color.webp"}


@pytest.mark.slow
def test_reads_all_files_in_one_folder(tmp_path, caplog):
    for name, (content, _) in {**GOOD, **BAD}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "empty").mkdir()
    (tmp_path / "folder.jpg" / "again").symlink_to(tmp_path)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "color.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=f"{len(BAD) + 3} of {len(GOOD) + len(BAD) + 4} images"):
        data.from_folder(tmp_path, check="decode")
    source = data.from_folder(tmp_path, bad_images="skip", check="decode")
    assert (source.train.count, source.skipped) == (len(GOOD) + 1, len(BAD) + 3)
    assert "cannot be read" in caplog.text
    batches = source.train.shuffled_batches(8, SIDE, seed=0)
    for batch in batches.take(2 * source.train.count // 8):
        assert batch["image"].shape == (8, SIDE, SIDE, 3)
    assert source.train.replaced == set()

    unread = {
        str(tmp_path / name)
        for name in BAD
        if files.examine_header(str(tmp_path / name)).kind == "unread"
    }
    assert len(unread) > len(BAD) / 2
    source = data.from_folder(tmp_path, bad_images="skip")
    assert source.train.count == len(GOOD) + 1 + len(unread)
    assert sum(len(batch["image"]) for batch in source.train.batches(8, SIDE)) > len(GOOD)
    assert source.train.replaced == unread


def test_reports_errors_of_the_operating_system(tmp_path, written, monkeypatch):
    path = written(GOOD["color.png"][0])
    record = files.examine(path)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (
        ("broken", "no such file or directory"),
        ("loop", "too many levels of symbolic links"),
        ("pipe", "not a regular file"),
    ):
        assert files.examine(str(tmp_path / name)) == (-1, -1, 0, "bad", problem)
        with pytest.raises(files.UnreadableError, match=problem):
            files.encoded_image(str(tmp_path / name), record)

    def refuse(*arguments, **options):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", refuse)
    with pytest.raises(files.UnreadableError, match="input/output error"):
        files.encoded_image(path, record)


def test_examines_a_changed_file_again(written):
    record = files.examine(written(GOOD["color.png"][0]))
    for name in ("color.jpg", "alpha.png", "turned 6.jpg"):
        np.testing.assert_allclose(
            pixels(written(GOOD[name][0]), record), GOOD[name][1], rtol=0, atol=1
        )
    same_size = bytearray(GOOD["color.png"][0])
    same_size[60] ^= 255
    changed, new = files.encoded_image(written(GOOD["color.jpg"][0]), record)
    assert files.encoded_image(written(GOOD["color.jpg"][0]), new) == (changed, new)
    with pytest.raises(files.UnreadableError):
        files.encoded_image(written(bytes(same_size)), record)
    with pytest.raises(files.UnreadableError, match="max_pixels is 100"):
        files.encoded_image(written(GOOD["color.jpg"][0]), record, max_pixels=100)
