"""The manifest of prepared images: what they were made of, and their shards."""

import concurrent.futures
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_bt._support import atomic
from keras_bt._support.version import __version__
from keras_bt.data.prepared_shards import (
    DamagedError,
    PreparedShard,
    check_shard,
    checksum,
    list_path,
)

FILE, FORMAT = "manifest.json", "keras_bt prepared images"
VERSION = 1  # changes when older programs could no longer read the images


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a folder of prepared images holds.

    Args:
        name: Name of the folder they were made of.
        load_size: See `prepare`.
        max_pixels: See `prepare`.
        encoding: How images are stored, in words.
        version: Version of the format.
        keras_bt: Version of the program.
        images: Number of images.
        skipped: Number of images that could not be read.
        digest: `Source.digest` of the folder they were made of.
        train: Folder of the training images below that folder, and their number.
        test: The same of the folder of held-out images; None without one.
        shards: Size and checksum of each TFRecord file, and checksum of its list.
        finished: Whether all shards are written.
    """

    name: str
    load_size: int
    max_pixels: int
    encoding: str
    version: int = VERSION
    keras_bt: str = __version__
    images: int = 0
    skipped: int = 0
    digest: str = ""
    train: tuple[str, int] = ("", 0)
    test: tuple[str, int] | None = None
    shards: Sequence[tuple[int, str, str]] = ()
    finished: bool = False

    def settings(self) -> dict[str, Any]:
        """The settings that all shards must have in common."""
        names = ("load_size", "max_pixels", "encoding", "version")
        return {name: getattr(self, name) for name in names}

    def write(self, folder: Path) -> None:
        """Writes the manifest into a folder, atomically."""
        fields = {"format": FORMAT, **dataclasses.asdict(self)}
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
        atomic.write_text(folder / FILE, "{\n" + ",\n".join(lines) + "\n}\n")


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds prepared images, finished or not.

    Example:
        >>> is_prepared(Path("no/such/folder"))
        False
    """
    try:
        with (folder / FILE).open("rb") as file:
            return FORMAT.encode() in file.read(100)
    except OSError:
        return False


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a folder.

    Raises:
        ValueError: If it is damaged or of another version.
        OSError: If it cannot be read.
    """
    file = folder / FILE
    try:
        fields = json.loads(file.read_text("utf-8"))
        if fields.pop("format") != FORMAT:
            raise ValueError("another format")
        version = fields["version"]
        if version == VERSION:
            fields["train"], fields["test"] = map(_as_tuple, (fields["train"], fields["test"]))
            fields["shards"] = tuple(map(_as_tuple, fields["shards"]))
            return Manifest(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged; delete {folder} and prepare it again.") from error
    raise ValueError(
        f"{folder} has version {version} of prepared images (keras_bt {fields.get('keras_bt')}); "
        f"this keras_bt {__version__} reads version {VERSION}. Prepare the images again."
    )


def read_shards(folder: Path, manifest: Manifest, checksums: bool) -> list[PreparedShard]:
    """Reads the lists of all shards, and checks the shards.

    Args:
        folder: The folder of the manifest.
        manifest: The manifest.
        checksums: Whether every file is read and its checksum compared. Sizes are always
            compared.

    Raises:
        DamagedError: If files are missing or damaged. The message names the first ten.
    """

    def read(number: int) -> PreparedShard | str:
        size_bytes, sha256, list_sha256 = manifest.shards[number]
        file = list_path(folder, number)
        try:
            check_shard(folder, number, size_bytes, sha256 if checksums else None)
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() != list_sha256:
                return f"{file} has another checksum than when it was written"
            return PreparedShard.from_text(content.decode("ascii"))
        except DamagedError as error:
            return str(error)
        except OSError as error:
            return f"{file} cannot be read: {error.strerror}"

    with concurrent.futures.ThreadPoolExecutor() as pool:  # hashing is outside Python's lock
        found = list(pool.map(read, range(len(manifest.shards))))
    if damaged := [reason for reason in found if isinstance(reason, str)]:
        more = f"; and {len(damaged) - 10} more" if len(damaged) > 10 else ""
        raise DamagedError(
            f"{'; '.join(damaged[:10])}{more}. Run the same `keras-bt prepare` again; it writes "
            "these shards again."
        )
    return [shard for shard in found if isinstance(shard, PreparedShard)]


def list_checksum(folder: Path, number: int) -> str:
    """The checksum of the list of a shard; empty if there is none."""
    try:
        return checksum(list_path(folder, number))
    except OSError:
        return ""


def _as_tuple(value: Any) -> Any:
    """A tuple that JSON has made a list; None stays None."""
    return value if value is None else tuple(value)
