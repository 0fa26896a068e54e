import numpy as np
import pytest

from keras_bt.evaluation import labelled_subset
from keras_bt.evaluation.subset import evenly_spaced_subset

LABELS = np.random.default_rng(0).permutation(np.repeat([3, 5, 9], [200, 60, 4]))


def test_each_class_keeps_its_fraction_and_at_least_one_image():
    for fraction, counts in ((0.01, [2, 1, 1]), (0.1, [20, 6, 1]), (0.5, [100, 30, 2])):
        chosen = labelled_subset(LABELS, fraction, seed=0)
        assert np.bincount(LABELS[chosen])[[3, 5, 9]].tolist() == counts
        assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(labelled_subset(LABELS, 1.0, seed=0), np.arange(264))


def test_subsets_are_nested_and_depend_on_the_seed():
    few, more, most = (labelled_subset(LABELS, fraction, seed=1) for fraction in (0.01, 0.1, 0.6))
    assert set(few) < set(more) < set(most)
    np.testing.assert_array_equal(labelled_subset(LABELS, 0.1, seed=1), more)
    assert set(labelled_subset(LABELS, 0.1, seed=2)) != set(more)


@pytest.mark.parametrize("fraction", [0, 1.1, float("nan")])
def test_rejects_a_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\], got"):
        labelled_subset(LABELS, fraction, seed=0)


def test_evenly_spaced_subset_keeps_rare_classes():
    labels = np.repeat([0, 1, 2], [15000, 15000, 4])
    chosen = evenly_spaced_subset(labels, 10_000)
    assert np.bincount(labels[chosen]).tolist() == [3750, 3750, 2]
    np.testing.assert_array_equal(evenly_spaced_subset(labels, len(labels)), np.arange(30004))
