import numpy as np
import pytest

from keras_bt import data


@pytest.fixture(scope="session")
def order():
    def labels_in_order(images, epochs, batch_size=4, **arguments):
        """Labels in the order of training, one list per epoch."""
        steps = images.count // batch_size
        batches = images.shuffled_batches(batch_size, 2, **arguments).take(epochs * steps)
        labels = np.concatenate([batch["label"].numpy() for batch in batches])
        return labels.reshape(epochs, -1).tolist()

    return labels_in_order


@pytest.fixture
def numbered():
    """Fourteen images whose labels are their indices."""
    return data.from_arrays(np.zeros((14, 2, 2, 3), "uint8"), labels=range(14))
