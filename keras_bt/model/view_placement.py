"""Where the views of a batch are computed: in the training step, or by `tf.data` before it."""

import tensorflow as tf

PLACEMENTS = ("step", "compiled", "data")
SECONDS_TO_COMPILE = 5.0
SECONDS_SAVED_PER_PIXEL = 5e-8  # of a view; on two cores, from 32 to 224 pixels a side


def better_placement(views, pixels):
    """Whether views are better compiled by XLA.

    It takes seconds once, and then about half of the time that TensorFlow's own kernels take.

    Args:
        views: Number. How many pairs of views are going to be computed.
        pixels: Int. Pixels of a view.

    Returns:
        "compiled" or "step". See `BarlowTwins.compile`.

    Example:
        >>> better_placement(1000 * 50000, 32 * 32), better_placement(60 * 1797, 8 * 8)
        ('compiled', 'step')

    Source: results/views.jsonl.
    """
    pays = views * pixels * SECONDS_SAVED_PER_PIXEL > SECONDS_TO_COMPILE
    return "compiled" if pays else "step"


class ViewsAhead:
    """Views of batches that `tf.data` computes while the step before is under way.

    It has copies of the view layers, whose state is ahead of the training by the batches that
    wait. Each batch carries the state after it, for the layers themselves to take on: they draw
    the same as in the step, and a checkpoint knows of no batch that was not trained on.

    Args:
        views: (view_a, view_b), Keras layers.
        make: Function from such a pair and a batch to the pair of its views.

    Example:
        >>> from keras_bt.layers.views import small_image_views
        >>> def make(views, images):
        ...     return [view(images) for view in views]
        >>> views = small_image_views(8, seed=0)
        >>> ahead = ViewsAhead(views, make)
        >>> batches = tf.data.Dataset.from_tensors(tf.zeros([2, 8, 8, 3]))
        >>> batch = next(iter(ahead.dataset(batches)))
        >>> int(views[0].seed_and_calls[1]), ahead.views_of(batch)[0].shape
        (0, TensorShape([2, 8, 8, 3]))
        >>> int(views[0].seed_and_calls[1])
        1
    """

    def __init__(self, views, make):
        self._views, self._make = views, make
        with tf.device("CPU:0"):  # where tf.data works
            self._copies = [type(view).from_config(view.get_config()) for view in views]

    def dataset(self, batches):
        """From a dataset of batches to one of views, from the present state of the layers on."""
        for copy, own in zip(_variables(self._copies), self.state, strict=True):
            copy.assign(own)

        def views_and_state(*batch):
            view_a, view_b = self._make(self._copies, batch[0] if len(batch) == 1 else batch)
            return view_a, view_b, tuple(variable.value for variable in _variables(self._copies))

        return batches.map(views_and_state).prefetch(1)

    @property
    def state(self):
        """The variables of the layers themselves."""
        return _variables(self._views)

    def made(self, batch):
        """Whether a batch is an element of `dataset`, and not images as they come."""
        return isinstance(batch, tuple) and len(batch) == 3 and isinstance(batch[2], tuple)

    def views_of(self, batch):
        """The views in an element of `dataset`; the layers take on the state that is with them."""
        view_a, view_b, state = batch
        for variable, value in zip(self.state, state, strict=True):
            variable.assign(value)
        return view_a, view_b


def _variables(views):
    return [variable for view in views for variable in view.variables]
