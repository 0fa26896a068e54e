"""Collectives on one replica; `processes` tests several."""

import tensorflow as tf

from keras_bt.distribution.collectives import current_replicas, first_row
from keras_bt.functional.replicas import ONE_REPLICA


def test_one_replica_holds_the_whole_batch():
    assert current_replicas() is ONE_REPLICA
    assert first_row(7) == first_row(tf.constant(7)) == 0


def test_code_outside_the_replicas_counts_as_one_replica():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        assert current_replicas() is ONE_REPLICA
    assert strategy.run(lambda: current_replicas().count) == 1
