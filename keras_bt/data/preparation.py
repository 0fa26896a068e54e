"""Prepares a folder of images: reads every file once, and keeps what training needs in shards."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_bt._support import atomic
from keras_bt._support.durations import in_words
from keras_bt._support.literal_paths import check_utf8
from keras_bt._support.locks import locked
from keras_bt._support.progress_bar import progress_bar
from keras_bt._support.settings import differences
from keras_bt.data.arrangement import (
    Arrangement,
    arrange,
    check_bad_images,
    skip_unreadable,
)
from keras_bt.data.files import MAX_PIXELS, check_max_pixels, printable
from keras_bt.data.images import digest_of
from keras_bt.data.layout import find_sets
from keras_bt.data.manifest import Manifest, is_prepared, list_checksum, read_manifest
from keras_bt.data.prepared_shards import (
    PreparedShard,
    find_shard,
    list_path,
    tfrecord_path,
    write_shard,
)
from keras_bt.data.reduced import encoding_in_words
from keras_bt.data.reducing import Estimate, FileToRead, Reducer, list_files

IMAGES_PER_SHARD = 1024

Part = tuple[int, list[FileToRead]]  # the number of a shard, and its files


class Preparation:
    """The preparation of a folder; see `prepare` for the arguments and what is raised.

    Args:
        checksums: Whether finished shards are read again and damaged ones replaced. Without,
            only their sizes are compared.

    Attributes:
        root: The folder to read.
        out: The folder to write.
        begun: Whether the folder to write has been begun before.
        finished: Whether there was nothing left to do.
    """

    def __init__(
        self,
        image_dir: str | os.PathLike[str],
        out: str | os.PathLike[str],
        load_size: int,
        max_pixels: int = MAX_PIXELS,
        checksums: bool = False,
    ) -> None:
        if load_size < 1:
            raise ValueError(f"load_size must be at least 1, got {load_size}.")
        check_max_pixels(max_pixels)
        self.root, self.out = (Path(path).expanduser().absolute() for path in (image_dir, out))
        check_utf8(self.out)
        if is_prepared(self.root):
            raise ValueError(f"{self.root} holds prepared images already; name their source.")
        self._sets = find_sets(self.root)
        self._files = list_files(self.root, self._sets)
        self._plan = Manifest(
            self.root.name,
            load_size,
            max_pixels,
            encoding_in_words(load_size),
            digest=digest_of((file.name, file.size_and_time[0]) for file in self._files),
        )
        self._reducer = Reducer(load_size, max_pixels)
        self._before = self._manifest_before()
        self._checksums = checksums
        self._shards = self._find_shards()
        before = self._before
        self.begun = before is not None
        self.finished = before is not None and before.finished and before == self._manifest()

    @functools.cached_property
    def estimate(self) -> Estimate:
        """What the missing shards take."""
        files = [file for _, part in self._missing() for file in part]
        return self._reducer.estimate(files)

    def run(self, bad_images: str = "fail", wait: bool = False) -> Manifest:
        """Writes the missing shards and the manifest; see `prepare`.

        Args:
            bad_images: See `prepare`.
            wait: Whether to wait for another process that prepares into the same folder.
        """
        check_bad_images(bad_images)
        if self.finished:
            self._skip_unreadable(bad_images)
            return self._manifest()
        lock = locked(self.out, "wait, or prepare into another folder", wait)
        try:
            return self._finish(bad_images)
        finally:
            os.close(lock)

    def arrangement(self) -> Arrangement:
        """The sets and classes of the images that can be read."""
        return arrange(self._sets, self._problems())

    def _finish(self, bad_images: str) -> Manifest:
        """Writes what is missing."""
        atomic.clean_up(self.out)
        if (before := self._manifest_before()) != self._before:  # another process has written
            self._before, self._shards = before, self._find_shards()
        if missing := self._missing():
            self._check_room()
            self._plan.write(self.out)  # from here on the folder is unfinished
            self._write(missing)
        self._skip_unreadable(bad_images)
        self.arrangement()  # refuses sets without readable images
        self._remove_surplus()
        manifest = self._manifest()
        manifest.write(self.out)
        return manifest

    def _skip_unreadable(self, bad_images: str) -> None:
        """Warns of unreadable files, or refuses them."""
        skip_unreadable(self._problems(), len(self._files), bad_images)

    def _manifest_before(self) -> Manifest | None:
        """The manifest in the folder to write; rejects a folder with anything else."""
        if not is_prepared(self.out):
            if self.out.is_dir() and any(not p.name.startswith(".") for p in self.out.iterdir()):
                raise ValueError(f"{self.out} holds other files; prepare into a folder of its own.")
            return None
        before, now = read_manifest(self.out), self._plan
        differing = differences(before.settings(), now.settings())
        if before.name != now.name and before.digest != now.digest:  # else it is only renamed
            differing += differences({"folder": before.name}, {"folder": now.name})
        if differing:
            raise ValueError(
                f"{self.out} was prepared with other settings ({'; '.join(differing)}); delete it, "
                "or prepare into another folder."
            )
        return before

    def _parts(self) -> list[Part]:
        """The files of each shard."""
        starts = range(0, len(self._files), IMAGES_PER_SHARD)
        return list(enumerate(self._files[start : start + IMAGES_PER_SHARD] for start in starts))

    def _missing(self) -> list[Part]:
        """The files of each shard that is not finished."""
        return [(number, part) for number, part in self._parts() if number not in self._shards]

    def _find_shards(self) -> dict[int, PreparedShard]:
        """The finished shards."""
        if self._before is None:
            return {}
        listed = dict(enumerate(self._before.shards))

        def find(part: Part) -> PreparedShard | None:
            number, files = part
            if number in listed and listed[number][2] != list_checksum(self.out, number):
                return None
            return find_shard(self.out, number, self._digest(files), self._checksums)

        parts = self._parts()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = zip(parts, pool.map(find, parts), strict=True)
            return {number: shard for (number, _), shard in found if shard}

    def _digest(self, files: Sequence[FileToRead]) -> str:
        """A text that changes with whatever determines the bytes of a shard."""
        return digest_of([self._plan.settings(), *(tuple(file[1:]) for file in files)])

    def _check_room(self) -> None:
        """Rejects a disk without room for the missing shards."""
        free_bytes = atomic.free_bytes(self.out)
        if self.estimate.size_bytes > free_bytes:
            raise ValueError(
                f"{self.out} needs {self.estimate.room}, but {atomic.megabytes(free_bytes)} are "
                "free there; prepare into a folder with more room, or smaller images."
            )
        logging.getLogger(__name__).info(
            "Preparing images of %d pixels in %s: %s, about %s.",
            self._plan.load_size,
            printable(str(self.out)),
            self.estimate.room,
            in_words(self.estimate.seconds),
        )

    def _write(self, missing: Sequence[Part]) -> None:
        """Writes shards. Some images of the next one are read while one is written."""
        files = [file for _, part in missing for file in part]
        reduced = self._reducer.in_order(files)
        done, needed_bytes = len(self._files) - len(files), self.estimate.size_bytes // len(missing)
        bar = progress_bar(
            desc="preparing images", total=len(self._files), initial=done, unit="image", delay=2.0
        )

        def images(part: Sequence[FileToRead]) -> Iterator[tuple]:
            for file, image in zip(part, itertools.islice(reduced, len(part)), strict=True):
                yield file.name, file.label, image
                bar.update()

        with bar, contextlib.closing(reduced):
            for number, part in missing:
                self._shards[number] = write_shard(
                    self.out, number, self._digest(part), images(part), needed_bytes
                )

    def _problems(self) -> dict[str, str]:
        """Why files could not be read, by path."""
        bad = [entry for number in sorted(self._shards) for entry in self._shards[number].bad]
        return {os.path.join(self.root, name): reason for name, reason in bad}

    def _manifest(self) -> Manifest:
        """The manifest of all shards; unfinished if some are missing."""
        if self._missing():
            return self._plan
        problems, sets = self._problems(), self._sets

        def part(folder: Path, paths: Sequence[str]) -> tuple[str, int]:
            name = os.path.relpath(folder, self.root)
            return "" if name == "." else name, sum(path not in problems for path in paths)

        shards = [self._shards[number] for number in range(len(self._shards))]
        return dataclasses.replace(
            self._plan,
            images=sum(len(shard.names) for shard in shards),
            skipped=len(problems),
            train=part(sets.train, sets.train_paths),
            test=part(sets.test, sets.test_paths) if sets.test else None,
            shards=tuple(
                (shard.size_bytes, shard.sha256, list_checksum(self.out, number))
                for number, shard in enumerate(shards)
            ),
            finished=True,
        )

    def _remove_surplus(self) -> None:
        """Removes shards of an earlier preparation of more images."""
        for number in itertools.count(len(self._shards)):
            files = tfrecord_path(self.out, number), list_path(self.out, number)
            if not any(file.exists() for file in files):
                return
            for file in files:
                atomic.remove(file)


def prepare(
    image_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    load_size: int,
    *,
    bad_images: str = "fail",
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Reduces all images of a folder once, so that training reads them quickly.

    `from_folder(out)` then has the same sets, classes and held-out images as
    `from_folder(image_dir)`. A second call after an interruption keeps finished shards. After
    files have changed it writes their shards again; after files were added or removed, all shards
    from there on. What is written is the same to the byte whatever the number of cores and of
    interruptions.

    Args:
        image_dir: The folder; see `from_folder`.
        out: Folder to write: TFRecord files, a list of the images of each, and manifest.json.
        load_size: Shorter side of the reduced images, in pixels; see `reduced.reduce_image`.
            Training can load them at this size and at smaller ones.
        bad_images: What is done with unreadable images, and with files that change meanwhile:
            "fail", after all files are read, or "skip" to leave them out.
        max_pixels: Larger images count as unreadable.

    Returns:
        "images", "skipped_images", "shards", "megabytes", and "seconds" of this call.

    Raises:
        ValueError: If the folder holds no images or unreadable ones, or `out` holds something
            else, was made with other settings, or has too little room.
        OSError: If something cannot be listed or written.
    """
    started = time.monotonic()
    preparation = Preparation(image_dir, out, load_size, max_pixels, checksums=True)
    manifest = preparation.run(bad_images)
    preparation.arrangement().log(preparation.root)
    return {
        "images": manifest.images,
        "skipped_images": manifest.skipped,
        "shards": len(manifest.shards),
        "megabytes": round(sum(size for size, *_ in manifest.shards) / 1e6, 1),
        "seconds": round(time.monotonic() - started, 1),
    }
