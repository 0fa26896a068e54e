from typing import ClassVar

import numpy as np
import pytest

from keras_bt import data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of two TensorFlow Datasets data sets, prepared as by a download."""
    import tensorflow_datasets as tfds

    class Shades(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        COUNTS: ClassVar = {"train": 20, "test": 8}

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(6, 6, 1)),
                "label": tfds.features.ClassLabel(num_classes=4),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in self.COUNTS.items()}

        def _generate_examples(self, count=0):
            for number in range(count):
                image = np.full((6, 6, 1), 10 * number, "uint8")
                yield number, {"image": image, "label": number % 4}

    class MoreShades(Shades):
        COUNTS: ClassVar = {"train": 4, "test": 8, "unlabelled": 16}

    folder = tmp_path_factory.mktemp("tfds")
    for builder in (Shades, MoreShades):
        builder(data_dir=folder).download_and_prepare()
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # from tensorflow-datasets while it writes
def test_reads_tfds_data_set(prepared, order):
    source = data.from_tfds("shades", data_dir=prepared)
    assert (source.train.count, source.test.count, source.classes) == (20, 8, 4)
    batch = next(iter(source.train.batches(20, 6)))
    assert batch["image"].shape == (20, 6, 6, 3)
    np.testing.assert_array_equal(batch["image"].numpy()[:, 0, 0, 1] // 10 % 4, batch["label"])
    assert order(source.train, 2, seed=0) == order(source.train, 2, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # from tensorflow-datasets while it writes
def test_pretrains_on_the_unlabelled_split(prepared):
    source = data.from_tfds("more_shades", data_dir=prepared)
    assert source.train.count == 16
    assert [images.count for images in source.for_evaluation()] == [4, 8]
    without = data.from_tfds("shades", data_dir=prepared)
    assert without.for_evaluation() == (without.train, without.test)


def test_rejects_tfds_data_set_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"penguins.* has no feature 'image', only \["):
        data.from_tfds("penguins/simple", data_dir=tmp_path)


def test_unknown_tfds_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"no data set 'cifar11'; did you mean 'cifar10"):
        data.from_tfds("cifar11")
