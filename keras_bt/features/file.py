"""Files of features with the paths of their images, as Parquet or NumPy's npz."""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from keras_bt._support import atomic
from keras_bt._support.errors import first_line
from keras_bt._support.optional import import_optional

METADATA = "keras_bt"  # name of the metadata in a file


@dataclasses.dataclass(frozen=True)
class FolderFeatures:
    """The features of a folder's images, read part by part.

    Args:
        count: Number of images.
        features: Length of each image's features.
        metadata: "image_dir", "image_size" and, from the command line, "encoder" and
            "encoder_digest".
        parts: Returns an iterator of pairs: paths relative to the image_dir, and float32
            [images, features].
    """

    count: int
    features: int
    metadata: dict[str, Any]
    parts: Callable[[], Iterator[tuple[list[str], np.ndarray]]]


def check_format(path: str | PathLike[str]) -> None:
    """Raises an error unless files with this suffix can be written and read.

    Args:
        path: Path of the file.

    Raises:
        ImportError: If the file is Parquet and pyarrow is missing.
        ValueError: If the file has another format.

    Example:
        >>> check_format("features.csv")
        Traceback (most recent call last):
            ...
        ValueError: The file of features needs a name ending in .parquet or .npz, got features.csv.
    """
    if Path(path).suffix not in WRITERS:
        raise ValueError(
            f"The file of features needs a name ending in {' or '.join(WRITERS)}, got {path}."
        )
    if Path(path).suffix == ".parquet":
        _pyarrow()


def write_features(path: str | PathLike[str], content: FolderFeatures) -> None:
    """Writes a file atomically, with one part in memory at a time.

    Args:
        path: Path ending in .parquet (columns `path` and `representation`) or .npz (arrays of
            these names).
        content: The features to write.

    Raises:
        ImportError: If the file is Parquet and pyarrow is missing.
        OSError: If the file cannot be written.
        ValueError: If the file has another format.
    """
    check_format(path)
    needed_bytes = 4 * content.count * content.features
    with atomic.replacing(Path(path), needed_bytes) as temporary:
        WRITERS[temporary.suffix](temporary, content)


def read_features(path: str | PathLike[str]) -> FolderFeatures:
    """Opens a file of features. Its parts are read when they are needed.

    Args:
        path: Path of a file from `extract_folder_features`.

    Returns:
        The open file.

    Raises:
        ImportError: If the file is Parquet and pyarrow is missing.
        OSError: If the file cannot be read.
        ValueError: If the file holds no features.
    """
    check_format(path)
    try:
        return READERS[Path(path).suffix](Path(path))
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no features: {first_line(error)}.") from error


def _write_parquet(path: Path, content: FolderFeatures) -> None:
    pyarrow, parquet = _pyarrow()
    vector = pyarrow.list_(pyarrow.float32(), content.features)
    schema = pyarrow.schema(
        [("path", pyarrow.string()), ("representation", vector)],
        metadata={METADATA: json.dumps(content.metadata)},
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for paths, values in content.parts():
            flat = pyarrow.array(values.ravel(), pyarrow.float32())
            column = pyarrow.FixedSizeListArray.from_arrays(flat, content.features)
            # Parquet's strings are UTF-8; file names can hold any bytes.
            names = [path.encode("utf-8", "replace").decode() for path in paths]
            writer.write_table(pyarrow.table([pyarrow.array(names), column], schema))


def _read_parquet(path: Path) -> FolderFeatures:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
    features = schema.field("representation").type.list_size

    def parts() -> Iterator[tuple[list[str], np.ndarray]]:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                values = batch["representation"].flatten().to_numpy(zero_copy_only=False)
                yield batch["path"].to_pylist(), values.reshape(-1, features)

    metadata = json.loads((schema.metadata or {})[METADATA.encode()])
    return FolderFeatures(count, features, metadata, parts)


def _write_npz(path: Path, content: FolderFeatures) -> None:
    paths: list[str] = []
    shape = (content.count, content.features)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("representation.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part_paths, values in content.parts():
                paths += part_paths
                file.write(np.ascontiguousarray(values, "<f4").tobytes())
        for name, value in (("path", paths), (METADATA, json.dumps(content.metadata))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)


def _read_npz(path: Path) -> FolderFeatures:
    with np.load(path) as file:
        paths, values = file["path"].tolist(), file["representation"]
        metadata = json.loads(str(file[METADATA]))
    count, features = values.shape
    return FolderFeatures(count, features, metadata, lambda: iter([(paths, values)]))


def _pyarrow() -> list[ModuleType]:
    return import_optional(["pyarrow", "pyarrow.parquet"], extra="parquet")


WRITERS = {".parquet": _write_parquet, ".npz": _write_npz}
READERS = {".parquet": _read_parquet, ".npz": _read_npz}
