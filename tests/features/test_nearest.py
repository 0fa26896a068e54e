import numpy as np
import pytest

from keras_bt.features import FolderFeatures, nearest_images


@pytest.fixture
def file(rng):
    vectors = rng.normal(size=(50, 6)).astype("float32")
    vectors[7] = 0
    names = [f"{number}.png" for number in range(50)]
    parts = [(names[i : i + 8], vectors[i : i + 8]) for i in range(0, 50, 8)]
    return FolderFeatures(50, 6, {}, lambda: iter(parts)), vectors


@pytest.mark.parametrize("count", [1, 5, 50, 80])
def test_finds_nearest_of_all_parts(file, rng, count):
    features, vectors = file
    query = rng.normal(size=6)
    norms = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ query / np.where(norms == 0, 1, norms) / np.linalg.norm(query)
    order = np.argsort(-cosines, kind="stable")[:count]
    found = nearest_images(features, query, count)
    assert [path for path, _ in found] == [f"{index}.png" for index in order]
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[order], rtol=1e-5)


@pytest.mark.parametrize(
    ("query", "count", "message"),
    [
        (np.ones(5), 3, r"query must be \[6\], as in the file, got \[5\]"),
        (np.zeros(6), 3, "finite and not zero, got one of norm 0.0"),
        (np.full(6, np.nan), 3, "finite and not zero, got one of norm nan"),
        (np.ones(6), 0, "count must be at least 1, got 0"),
    ],
)
def test_rejects_wrong_queries(file, query, count, message):
    with pytest.raises(ValueError, match=message):
        nearest_images(file[0], query, count)
