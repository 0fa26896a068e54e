import numpy as np
import pytest

from keras_bt import data


@pytest.fixture
def prepared(tmp_path):
    """A TensorFlow Datasets data set prepared on disk, as a download leaves it."""
    import tensorflow_datasets as tfds

    class Shades(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(6, 6, 1)),
                "label": tfds.features.ClassLabel(num_classes=4),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(20), "test": self._generate_examples(8)}

        def _generate_examples(self, count=0):
            for number in range(count):
                image = np.full((6, 6, 1), 10 * number, "uint8")
                yield number, {"image": image, "label": number % 4}

    Shades(data_dir=tmp_path).download_and_prepare()
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets' own writing of the files
def test_tfds(prepared, order):
    source = data.from_tfds("shades", data_dir=prepared)
    assert (source.train.count, source.test.count, source.classes) == (20, 8, 4)
    batch = next(iter(source.train.batches(20, 6)))
    assert batch["image"].shape == (20, 6, 6, 3)
    np.testing.assert_array_equal(batch["image"].numpy()[:, 0, 0, 1] // 10 % 4, batch["label"])
    assert order(source.train, 2, seed=0) == order(source.train, 2, seed=0)


def test_tfds_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"penguins.* has no feature 'image', only \["):
        data.from_tfds("penguins/simple", data_dir=tmp_path)


def test_unknown_tfds_name_names_the_nearest():
    with pytest.raises(ValueError, match=r"no data set 'cifar11'; did you mean 'cifar10"):
        data.from_tfds("cifar11")
