"""Nearest-neighbour classification of representations, in chunks of bounded memory."""

import tensorflow as tf


def knn_vote(train, train_labels, test, *, classes, k=200, temperature=0.1, chunk_size=256):
    """Labels by a similarity-weighted vote of the k nearest training representations.

        score[class] = sum over the k nearest of that class of exp(cosine / temperature)

    Args:
        train: Float tensor [train_count, features].
        train_labels: Int tensor [train_count], in 0...classes-1.
        test: Float tensor [test_count, features].
        classes: Int. How many classes there are.
        k: Int. Neighbours that vote, cut to `train_count`.
        temperature: Float, above 0. Small values let only the nearest vote.
        chunk_size: Int. Test representations compared at once.

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


def knn_votes(train, train_labels, test, *, classes, ks, temperatures, chunk_size=256):
    """`knn_vote` for each k and temperature; the neighbours are looked up once.

    Args:
        train: See `knn_vote`.
        train_labels: See `knn_vote`.
        test: See `knn_vote`.
        classes: See `knn_vote`.
        ks: Ints, ascending. Each is cut to `train_count`.
        temperatures: Floats, above 0.
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

    def predict(chunk):
        cosine, nearest = tf.math.top_k(tf.matmul(chunk, train, transpose_b=True), ks[-1])
        votes = tf.one_hot(tf.gather(train_labels, nearest), classes)
        # Relative to the nearest, which scales all scores alike and cannot overflow.
        weights = tf.exp((cosine - cosine[:, :1])[..., None] / temperatures)
        scores, predicted = 0.0, []
        for start, end in zip([0, *ks], ks, strict=False):
            scores += tf.einsum("bkt,bkc->tbc", weights[:, start:end], votes[:, start:end])
            predicted.append(tf.argmax(scores, axis=-1))
        return tf.stack(predicted)

    starts = range(0, test.shape[0], chunk_size)
    return tf.concat([predict(test[start : start + chunk_size]) for start in starts], axis=-1)


def _unit_rows(rows):
    """Rows of length 1, of any length before; a row of zeros stays one."""
    rows = tf.cast(rows, tf.float32)
    largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    # Without this, squares overflow above 1e19, and l2_normalize takes lengths below 1e-6 for 0.
    return tf.math.l2_normalize(tf.math.divide_no_nan(rows, largest), axis=1)
