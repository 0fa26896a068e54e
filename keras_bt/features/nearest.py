"""The images whose representations are nearest to a given one."""

import numpy as np


def nearest_images(representations, query, count=10):
    """The nearest images by cosine, going through a file of any length once.

    Args:
        representations: `Representations`.
        query: Float array [features], not zero.
        count: Int. How many.

    Returns:
        List of pairs (path, cosine), nearest first; of equally near ones the first in the file.

    Raises:
        ValueError: If `query` is of another length, zero or not finite, or `count` below 1.

    Example:
        >>> from keras_bt.features import Representations
        >>> vectors = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], "float32")
        >>> file = Representations(3, 2, {}, lambda: iter([(["a", "b", "c"], vectors)]))
        >>> [path for path, _ in nearest_images(file, [0.1, 3.0], count=2)]
        ['b', 'c']
    """
    query = np.asarray(query, "float64")
    if query.shape != (representations.features,):
        raise ValueError(
            f"query must be [{representations.features}], as in the file, got {list(query.shape)}."
        )
    norm = np.linalg.norm(query)
    if not 0 < norm < np.inf:
        raise ValueError(f"query must be finite and not zero, its norm is {norm}.")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    best_paths: list[str] = []
    best = np.zeros(0)
    for paths, vectors in representations.parts():
        vectors = vectors.astype("float64")
        norms = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo("float64").tiny)
        best_paths = best_paths + paths
        best = np.concatenate([best, vectors @ (query / norm) / norms])
        order = np.argsort(-best, kind="stable")[:count]
        best_paths, best = [best_paths[index] for index in order], best[order]
    return list(zip(best_paths, best.tolist(), strict=True))
