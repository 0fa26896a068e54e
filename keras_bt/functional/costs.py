"""What either form of the loss costs, in arithmetic and in bytes sent between replicas."""

MULTIPLICATIONS_PER_BYTE = 50  # what sending a byte costs; see `gram_is_cheaper`


def cheaper_form(rows, dim, replicas):
    """Which form of the loss costs less.

    Args:
        rows: Int or None. Images a replica.
        dim: Int. Width of the embedding.
        replicas: Int.

    Returns:
        "matrix" or "gram"; "unknown" where that depends on an unknown number of rows. On
        several replicas collectives must not depend on it, and 1,024 images are assumed.

    Example:
        >>> cheaper_form(256, 8192, replicas=1), cheaper_form(2048, 2048, replicas=1)
        ('gram', 'matrix')
    """
    if rows is None and replicas == 1:
        return "unknown"
    batch = 1024 if rows is None else rows * replicas
    return "gram" if gram_is_cheaper(batch, dim, replicas) else "matrix"


def gram_is_cheaper(batch, dim, replicas):
    """Whether the Gram form costs less than the matrix form, forward and backward.

        on each replica         matrix                         gram
        multiplications         3 batch dim^2 / replicas       4 batch^2 dim / replicas
        bytes sent              8 share dim^2                  8 share batch dim

    with share = (replicas - 1) / replicas, sums and gathers going round in rings of
    float32. Either form's costs are in proportion to dim, and since the arithmetic alone
    would draw the line at 4 batch = 3 dim and the bytes alone at batch = dim, the price of
    a byte matters little.

    Args:
        batch: Int or scalar tensor. Images in the global batch.
        dim: Int. Width of the embedding.
        replicas: Int.

    Returns:
        Bool, or a scalar tensor of it.

    Example:
        >>> gram_is_cheaper(1600, 2048, 1), gram_is_cheaper(1600, 2048, 64)
        (False, True)
    """
    bytes_sent = 8 * (replicas - 1) * MULTIPLICATIONS_PER_BYTE
    return batch * (4 * batch + bytes_sent) < dim * (3 * batch + bytes_sent)
