"""Files of paths and representations: Parquet, or NumPy's npz."""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_bt._support import atomic
from keras_bt._support.optional import import_optional

ABOUT = "keras_bt"  # key of what is told of the file in it


@dataclasses.dataclass(frozen=True)
class Representations:
    """An open file of representations.

    Args:
        count: Int. How many there are.
        features: Int. Numbers in each.
        about: Dict. What they are of: "image_dir", "encoder", "image_size".
        parts: Function without arguments to an iterator of pairs: paths, a list of strings,
            relative to the image_dir, and representations, float32 [some, features].
    """

    count: int
    features: int
    about: dict
    parts: Callable[[], Iterator[tuple[list[str], np.ndarray]]]


def check_format(path):
    """Refuses a file that is of neither kind, before anything is computed.

    Example:
        >>> check_format("features.csv")
        Traceback (most recent call last):
            ...
        ValueError: Representations go into a file ending in .parquet or .npz, not features.csv.
    """
    if Path(path).suffix not in WRITERS:
        raise ValueError(
            f"Representations go into a file ending in {' or '.join(WRITERS)}, not {path}."
        )
    if Path(path).suffix == ".parquet":
        _pyarrow()


def write_features(path, representations):
    """Writes a file that appears whole or not at all, a part at a time in memory.

    Args:
        path: Path ending in .parquet (columns `path` and `representation`) or .npz (arrays of
            these names).
        representations: `Representations`.

    Raises:
        ImportError: If it is Parquet's and pyarrow is missing.
        OSError: If it cannot be written.
        ValueError: If it ends otherwise.
    """
    check_format(path)
    needed_bytes = 4 * representations.count * representations.features
    with atomic.replacing(Path(path), needed_bytes) as aside:
        WRITERS[aside.suffix](aside, representations)


def read_features(path):
    """A file of representations, to go through in parts.

    Args:
        path: Path of a file of `write_features`.

    Returns:
        `Representations`.

    Raises:
        ImportError: If it is Parquet's and pyarrow is missing.
        OSError: If it cannot be read.
        ValueError: If it is not such a file.
    """
    check_format(path)
    try:
        return READERS[Path(path).suffix](Path(path))
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no representations: {error}.") from error


def _write_parquet(path, representations):
    pyarrow, parquet = _pyarrow()
    kind = pyarrow.list_(pyarrow.float32(), representations.features)
    schema = pyarrow.schema(
        [("path", pyarrow.string()), ("representation", kind)],
        metadata={ABOUT: json.dumps(representations.about)},
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for paths, values in representations.parts():
            flat = pyarrow.array(values.ravel(), pyarrow.float32())
            column = pyarrow.FixedSizeListArray.from_arrays(flat, representations.features)
            # Parquet's strings are UTF-8, which names of files need not be.
            names = [path.encode("utf-8", "replace").decode() for path in paths]
            writer.write_table(pyarrow.table([pyarrow.array(names), column], schema))


def _read_parquet(path):
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
    features = schema.field("representation").type.list_size

    def parts():
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                values = batch["representation"].flatten().to_numpy(zero_copy_only=False)
                yield batch["path"].to_pylist(), values.reshape(-1, features)

    about = json.loads((schema.metadata or {})[ABOUT.encode()])
    return Representations(count, features, about, parts)


def _write_npz(path, representations):
    paths = []
    shape = (representations.count, representations.features)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("representation.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for names, values in representations.parts():
                paths += names
                file.write(np.ascontiguousarray(values, "<f4").tobytes())
        for name, value in (("path", paths), (ABOUT, json.dumps(representations.about))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)


def _read_npz(path):
    with np.load(path) as file:
        paths, values, about = file["path"], file["representation"], json.loads(str(file[ABOUT]))
    count, features = values.shape
    return Representations(count, features, about, lambda: iter([(paths.tolist(), values)]))


def _pyarrow():
    return import_optional(["pyarrow", "pyarrow.parquet"], extra="parquet")


WRITERS = {".parquet": _write_parquet, ".npz": _write_npz}
READERS = {".parquet": _read_parquet, ".npz": _read_npz}
