"""The forms of the loss, and which one costs less arithmetic and communication."""

import tensorflow as tf

FORMS = ("auto", "matrix", "gram")
# Price of a sent byte: an accelerator multiplies 1e13 to 1e14 times a second and sends 1e11 to
# 1e12 bytes. `gram_is_cheaper` says why the order of magnitude suffices.
MULTIPLICATIONS_PER_BYTE = 50


def check_form(form: str) -> None:
    """Rejects an unknown form of the loss.

    Raises:
        ValueError: If `form` is not one of `FORMS`.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}.")


def cheaper_form(rows: int | None, dim: int, replicas: int) -> str:
    """Which form of the loss costs less.

    Args:
        rows: Images per replica; None if unknown.
        dim: Width of the embedding.
        replicas: Number of replicas.

    Returns:
        "matrix" or "gram"; "unknown" for unknown rows on one replica. On several replicas the
        collectives must not depend on the rows, so a batch of 1,024 images is assumed.

    Example:
        >>> cheaper_form(256, 8192, replicas=1), cheaper_form(2048, 2048, replicas=1)
        ('gram', 'matrix')
    """
    if rows is None and replicas == 1:
        return "unknown"
    batch = 1024 if rows is None else rows * replicas
    return "gram" if gram_is_cheaper(batch, dim, replicas) else "matrix"


def gram_is_cheaper(batch: int | tf.Tensor, dim: int, replicas: int) -> bool | tf.Tensor:
    """Whether the Gram form costs less than the matrix form, forward and backward.

        on each replica         matrix                         gram
        multiplications         3 batch dim^2 / replicas       4 batch^2 dim / replicas
        bytes sent              8 share dim^2                  8 share batch dim

    with share = (replicas - 1) / replicas, for ring reductions and gathers of float32. The
    price of a byte matters little: arithmetic alone puts the limit at 4 batch = 3 dim, bytes
    alone at batch = dim.

    Args:
        batch: Int or scalar int tensor. Images in the global batch.
        dim: Width of the embedding.
        replicas: Number of replicas.

    Returns:
        A bool, or a scalar bool tensor for a tensor `batch`.

    Example:
        >>> gram_is_cheaper(1600, 2048, 1), gram_is_cheaper(1600, 2048, 64)
        (False, True)
    """
    bytes_sent = 8 * (replicas - 1) * MULTIPLICATIONS_PER_BYTE
    return batch * (4 * batch + bytes_sent) < dim * (3 * batch + bytes_sent)
