"""All images of a folder to representations in a file, in parts that are done once."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np

from keras_bt import data
from keras_bt._support import atomic
from keras_bt._support.progress_bar import progress_bar
from keras_bt._support.settings import differences
from keras_bt.data.files import MAX_PIXELS
from keras_bt.evaluation.features import compile_encoder, extract_compiled
from keras_bt.features.file import Representations, check_format, write_features

FILES_A_PART, BATCH_SIZE = 2048, 256


def extract_folder_features(
    encoder,
    image_dir,
    out,
    image_size,
    *,
    about=None,
    bad_images="skip",
    max_pixels=MAX_PIXELS,
    files_a_part=FILES_A_PART,
):
    """Writes the representations of all images of a folder, at any depth, into a file.

    It goes through the images in parts, each of which is kept beside `out` when it is done. Started
    again after it was ended, it goes on with the part at hand.

    Args:
        encoder: See `extract_features`.
        image_dir: Path of the folder.
        out: Path of the file, ending in .parquet or .npz; see `write_features`.
        image_size: Int. Side of the images the encoder gets, in pixels.
        about: Dict that JSON can hold. What tells this encoder from others.
        bad_images: "skip" to leave out images that cannot be read, with a warning, or "fail".
        max_pixels: Int. Images with more cannot be read.
        files_a_part: Int. Images in a part.

    Returns:
        Dict: "images", "skipped_images", "features", and of this start "images_per_second".

    Raises:
        OSError: If something cannot be read or written.
        ValueError: If there are no images, or `out` was begun with others or with other settings.
    """
    check_format(out)
    root = str(Path(image_dir).expanduser().absolute())
    paths = data.image_files(root)
    about = {"image_dir": root, "image_size": image_size, **(about or {})}
    limits = {"bad_images": bad_images, "max_pixels": max_pixels, "files_a_part": files_a_part}
    folder = Path(f"{out}.parts")
    _begin(folder, {**about, **limits, "files": _fingerprint(paths)}, out)
    encode = compile_encoder(encoder)
    start, encoded = time.monotonic(), 0
    with progress_bar(desc="embedding", total=len(paths), unit="image") as bar:
        for number in range(0, len(paths), files_a_part):
            part, file = paths[number : number + files_a_part], _part(folder, number)
            if not file.exists():
                images, readable = data.from_files(part, root, bad_images, max_pixels)
                _write_part(file, encode, images, readable, root, image_size)
                encoded += len(readable)
            bar.update(len(part))
    seconds = time.monotonic() - start
    parts = [_part(folder, number) for number in range(0, len(paths), files_a_part)]
    representations = _joined(parts, about)
    if not representations.count:
        atomic.remove(folder)
        raise ValueError(f"None of the images in {root} can be read.")
    write_features(out, representations)
    atomic.remove(folder)
    return {
        "images": representations.count,
        "skipped_images": len(paths) - representations.count,
        "features": representations.features,
        "images_per_second": round(encoded / seconds, 1),
    }


def _begin(folder, plan, out):
    file = folder / "plan.json"
    if file.exists():
        if differing := differences(json.loads(file.read_text("utf-8")), plan):
            raise ValueError(
                f"{out} was begun with other settings: {'; '.join(differing)}. Delete {folder} to "
                "begin anew."
            )
        return
    atomic.write_text(file, json.dumps(plan, indent=2) + "\n")


def _part(folder, number):
    return folder / f"{number:09d}.npz"


def _write_part(file, encode, images, paths, root, image_size):
    names, values = [], np.zeros((0, 0), "float32")
    if images is not None:
        values, _ = extract_compiled(encode, images.batches(BATCH_SIZE, image_size))
        # In the place of a file that vanished meanwhile is another image's representation.
        kept = [path not in images.replaced for path in paths]
        names = [
            os.path.relpath(path, root) for path, keep in zip(paths, kept, strict=True) if keep
        ]
        values = values[kept]
    with atomic.replacing(file, values.nbytes) as aside:
        np.savez(aside, path=np.array(names, str), representation=values)


def _joined(files, about):
    """What is in parts, as one; parts of which no image could be read are empty."""
    shapes = []
    for file in files:
        with np.load(file) as part:
            shapes.append(part["representation"].shape)

    def parts():
        for file, (count, _) in zip(files, shapes, strict=True):
            if count:
                with np.load(file) as part:
                    yield part["path"].tolist(), part["representation"]

    count, features = sum(count for count, _ in shapes), max(features for _, features in shapes)
    return Representations(count, features, about, parts)


def _fingerprint(paths):
    """How many files there are, and what changes when one of them does."""
    digest = hashlib.sha256()
    for path in paths:
        known = None
        with contextlib.suppress(OSError):  # one that is gone by now
            status = Path(path).stat()
            known = (status.st_size, status.st_mtime_ns)
        digest.update(f"{path!r} {known}\n".encode())
    return f"{len(paths)} files, {digest.hexdigest()[:12]}"
