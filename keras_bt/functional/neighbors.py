"""k-nearest-neighbor classification of features, in chunks of bounded memory."""

from collections.abc import Sequence

import tensorflow as tf


def knn_vote(
    train: tf.Tensor,
    train_labels: tf.Tensor | Sequence[int],
    test: tf.Tensor,
    *,
    classes: int,
    k: int = 200,
    temperature: float = 0.1,
    chunk_size: int = 256,
) -> tf.Tensor:
    """Predicts labels by a similarity-weighted vote of the k nearest training features.

        score[class] = sum over the k nearest of that class of exp(cosine / temperature)

    Args:
        train: Float tensor [train_count, features].
        train_labels: Int tensor [train_count], in 0...classes-1.
        test: Float tensor [test_count, features].
        classes: Number of classes.
        k: Number of neighbors that vote, at most `train_count` of them.
        temperature: Above 0. With a small value only the nearest neighbors count.
        chunk_size: Number of test rows compared at once.

    Returns:
        Int64 tensor [test_count], the predicted labels.

    Example:
        >>> train = tf.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> knn_vote(train, [0, 1], [[0.9, 0.1], [0.2, 3.0]], classes=2, k=1).numpy()
        array([0, 1])

    Source: Wu et al. 2018, arXiv 1805.01978, section 3.4; lightly's and solo-learn's k-NN.
    """
    votes = knn_votes(
        train,
        train_labels,
        test,
        classes=classes,
        ks=[k],
        temperatures=[temperature],
        chunk_size=chunk_size,
    )
    return votes[0, 0]


def knn_votes(
    train: tf.Tensor,
    train_labels: tf.Tensor | Sequence[int],
    test: tf.Tensor,
    *,
    classes: int,
    ks: Sequence[int],
    temperatures: Sequence[float],
    chunk_size: int = 256,
) -> tf.Tensor:
    """`knn_vote` for each k and each temperature, with a single search for neighbors.

    Args:
        train: See `knn_vote`.
        train_labels: See `knn_vote`.
        test: See `knn_vote`.
        classes: See `knn_vote`.
        ks: Ascending. Each is cut to `train_count`.
        temperatures: Above 0.
        chunk_size: See `knn_vote`.

    Returns:
        Int64 tensor [ks, temperatures, test_count], the predicted labels.

    Example:
        >>> train = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
        >>> votes = knn_votes(
        ...     train, [0, 1, 1], [[1.0, 0.9]], classes=2, ks=[1, 3], temperatures=[0.01, 1.0]
        ... )
        >>> votes.numpy()[:, :, 0]
        array([[0, 0],
               [0, 1]])
    """
    train, test = _unit_rows(train), _unit_rows(test)
    train_labels = tf.cast(train_labels, tf.int32)
    temperatures = tf.constant(temperatures, tf.float32)
    ks = [min(k, train.shape[0]) for k in ks]

    def predict(chunk: tf.Tensor) -> tf.Tensor:
        cosine, nearest = tf.math.top_k(tf.matmul(chunk, train, transpose_b=True), ks[-1])
        votes = tf.one_hot(tf.gather(train_labels, nearest), classes)
        # Relative to the nearest: scales all scores of a row alike and cannot overflow.
        weights = tf.exp((cosine - cosine[:, :1])[..., None] / temperatures)
        scores, predicted = 0.0, []
        for start, end in zip([0, *ks], ks, strict=False):
            scores += tf.einsum("bkt,bkc->tbc", weights[:, start:end], votes[:, start:end])
            predicted.append(tf.argmax(scores, axis=-1))
        return tf.stack(predicted)

    starts = range(0, test.shape[0], chunk_size)
    return tf.concat([predict(test[start : start + chunk_size]) for start in starts], axis=-1)


def _unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Scales each row to length 1, whatever its length; a row of zeros stays zero."""
    rows = tf.cast(rows, tf.float32)
    largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    # Without this, squares overflow above 1e19, and l2_normalize takes lengths below 1e-6 for 0.
    return tf.math.l2_normalize(tf.math.divide_no_nan(rows, largest), axis=1)
