"""Finds the images whose features are nearest to a query."""

import numpy as np
import numpy.typing as npt

from keras_bt.features.file import FolderFeatures


def nearest_images(
    file: FolderFeatures, query: npt.ArrayLike, count: int = 10
) -> list[tuple[str, float]]:
    """Finds the nearest images by cosine similarity in one pass through a file of any length.

    Args:
        file: From `read_features`.
        query: Float array [features], not zero.
        count: Number of images to find.

    Returns:
        Pairs (path, cosine), nearest first. Equally near images keep the order of the file.

    Raises:
        ValueError: If `query` has the wrong length or is zero or not finite, or if `count` is
            below 1.

    Example:
        >>> from keras_bt.features import FolderFeatures
        >>> vectors = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], "float32")
        >>> file = FolderFeatures(3, 2, {}, lambda: iter([(["a", "b", "c"], vectors)]))
        >>> [path for path, _ in nearest_images(file, [0.1, 3.0], count=2)]
        ['b', 'c']
    """
    query = np.asarray(query, "float64")
    if query.shape != (file.features,):
        raise ValueError(
            f"query must be [{file.features}], as in the file, got {list(query.shape)}."
        )
    norm = np.linalg.norm(query)
    if not 0 < norm < np.inf:
        raise ValueError(f"query must be finite and not zero, got one of norm {norm}.")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    best_paths: list[str] = []
    best = np.zeros(0)
    for paths, vectors in file.parts():
        vectors = vectors.astype("float64")
        norms = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo("float64").tiny)
        best_paths = best_paths + paths
        best = np.concatenate([best, vectors @ (query / norm) / norms])
        order = np.argsort(-best, kind="stable")[:count]
        best_paths, best = [best_paths[index] for index in order], best[order]
    return list(zip(best_paths, best.tolist(), strict=True))
