"""Extracts the features of a folder's images into a file, and resumes after an interruption."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_bt import data
from keras_bt._support import atomic
from keras_bt._support.progress_bar import progress_bar
from keras_bt._support.settings import differences
from keras_bt.data.files import MAX_PIXELS
from keras_bt.data.images import Images, digest_of
from keras_bt.data.manifest import is_prepared
from keras_bt.evaluation.features import Encoder, compile_encoder, extract_compiled
from keras_bt.export.forward import framing_of
from keras_bt.features.file import FolderFeatures, check_format, write_features
from keras_bt.functional.framing import check_framing

FILES_PER_PART, BATCH_SIZE = 2048, 256


def extract_folder_features(
    encoder: Encoder,
    image_dir: str | PathLike[str],
    out: str | PathLike[str],
    image_size: int,
    *,
    framing: str | None = None,
    metadata: dict[str, Any] | None = None,
    bad_images: str = "skip",
    max_pixels: int = MAX_PIXELS,
    files_per_part: int = FILES_PER_PART,
) -> dict[str, Any]:
    """Writes the features of all images of a folder, at any depth, into a file.

    Finished parts are stored beside `out`. A second call after an interruption reuses them.

    Args:
        encoder: See `extract_features`.
        image_dir: Path of the folder, or of one that `data.prepare` has written.
        out: Path of the file, ending in .parquet or .npz; see `write_features`.
        image_size: Height and width of the encoder's images, in pixels.
        framing: How images become squares; see `data.Images.framed`. None for that of an exported
            encoder.
        metadata: Stored in the file, as JSON. Include an id of the encoder: only calls with
            equal metadata reuse each other's parts.
        bad_images: "skip" leaves out unreadable images with a warning; "fail" raises.
        max_pixels: Images with more pixels are unreadable.
        files_per_part: Images per part.

    Returns:
        "images", "skipped_images", "features", and "images_per_second" of this call.

    Raises:
        ImportError: If `out` is Parquet and pyarrow is missing.
        OSError: If something cannot be read or written.
        ValueError: If there are no readable images, if the framing is unknown, or if the stored
            parts have other images or settings.
    """
    check_format(out)
    root = str(Path(image_dir).expanduser().absolute())
    prepared = data.Prepared(root) if is_prepared(Path(root)) else None
    paths = prepared.paths if prepared else data.image_files(root)
    framing = check_framing(framing or framing_of(encoder))
    settings = {"image_dir": root, "image_size": image_size, "framing": framing}
    metadata = {**settings, **(metadata or {})}
    limits = {"bad_images": bad_images, "max_pixels": max_pixels, "files_a_part": files_per_part}
    folder = Path(f"{out}.parts")
    fingerprint = digest_of([prepared.manifest]) if prepared else _fingerprint(paths, root)
    plan = {**metadata, **limits, "files": fingerprint}
    del plan["image_dir"]  # the folder may have moved
    _check_plan(folder, plan, out)
    encode = compile_encoder(encoder)
    start, encoded = time.monotonic(), 0
    with progress_bar(desc="features", total=len(paths), unit="image") as bar:
        for first in range(0, len(paths), files_per_part):
            part, file = paths[first : first + files_per_part], _part_path(folder, first)
            if not file.exists():
                images: Images | None
                if prepared:
                    numbers = range(first, first + len(part))
                    images, readable = prepared.images(root, numbers), part
                else:
                    images, readable = data.from_files(part, root, bad_images, max_pixels)
                images = images and images.framed(framing)
                _write_part(file, encode, images, readable, root, image_size)
                encoded += len(readable)
            bar.update(len(part))
    seconds = time.monotonic() - start
    parts = [_part_path(folder, first) for first in range(0, len(paths), files_per_part)]
    extracted = _join(parts, metadata)
    if not extracted.count:
        atomic.remove(folder)
        raise ValueError(f"None of the images in {root} can be read.")
    write_features(out, extracted)
    atomic.remove(folder)
    return {
        "images": extracted.count,
        "skipped_images": len(paths) - extracted.count,
        "features": extracted.features,
        "images_per_second": round(encoded / seconds, 1),
    }


def _check_plan(folder: Path, plan: dict[str, Any], out: str | PathLike[str]) -> None:
    """Stores the settings of the parts; raises if existing parts have others."""
    file = folder / "plan.json"
    if file.exists():
        stored = {"framing": "square", **json.loads(file.read_text("utf-8"))}
        if differing := differences(stored, plan):
            raise ValueError(
                f"{out} was started with other settings: {'; '.join(differing)}. Delete {folder} "
                "to start over."
            )
        return
    atomic.write_text(file, json.dumps(plan, indent=2) + "\n")


def _part_path(folder: Path, first: int) -> Path:
    return folder / f"{first:09d}.npz"


def _write_part(
    file: Path,
    encode: Encoder,
    images: Images | None,
    paths: Sequence[str],
    root: str,
    image_size: int,
) -> None:
    relative_paths, values = [], np.zeros((0, 0), "float32")
    if images is not None:
        values, _ = extract_compiled(encode, images.batches(BATCH_SIZE, image_size))
        # `Images` gives another image instead of a file that has vanished since the scan.
        kept = [index for index, path in enumerate(paths) if path not in images.replaced]
        relative_paths = [os.path.relpath(paths[index], root) for index in kept]
        values = values[kept]
    with atomic.replacing(file, values.nbytes) as temporary:
        np.savez(temporary, path=np.array(relative_paths, str), representation=values)


def _join(files: Sequence[Path], metadata: dict[str, Any]) -> FolderFeatures:
    """The content of all parts; a part without readable images is empty."""
    shapes = []
    for file in files:
        with np.load(file) as part:
            shapes.append(part["representation"].shape)

    def parts() -> Iterator[tuple[list[str], np.ndarray]]:
        for file, (count, _) in zip(files, shapes, strict=True):
            if count:
                with np.load(file) as part:
                    yield part["path"].tolist(), part["representation"]

    count, features = sum(count for count, _ in shapes), max(features for _, features in shapes)
    return FolderFeatures(count, features, metadata, parts)


def _fingerprint(paths: Sequence[str], root: str) -> str:
    """A text that changes when a file is added, removed, or changed in size or time."""

    def described(path: str) -> tuple[str, Any]:
        size_and_time = None
        with contextlib.suppress(OSError):  # the file may have vanished
            status = Path(path).stat()
            size_and_time = (status.st_size, status.st_mtime_ns)
        return os.path.relpath(path, root), size_and_time

    return f"{len(paths)} files, {digest_of(map(described, paths))}"
