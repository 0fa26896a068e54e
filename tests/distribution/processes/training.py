"""A few training steps in a separate process: `python training.py CASES FOLDER`.

`conftest.py` starts it on one device and as workers of a strategy, with the same cases as JSON.
Each process writes its results to a file named by its index.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_bt
from keras_bt.distribution import workers

IMAGES, BATCH, SIZE = 96, 24, 8
OVERFLOWING = 45  # in the second step, in the last part of any number of replicas


def images(count):
    """Images that differ in mean and spread, so that the parts of a batch differ."""
    rng = np.random.default_rng(0)
    means, spreads = rng.uniform(60, 190, (count, 1, 1, 3)), rng.uniform(10, 60, (count, 1, 1, 1))
    noisy = means + spreads * rng.normal(size=(count, SIZE, SIZE, 3))
    return np.clip(noisy, 1, 254).astype("uint8")


class OverflowAtBlack(keras.layers.Layer):
    """The identity, with an infinite gradient for black images."""

    def call(self, features, image):
        black = tf.reduce_all(image == 0, axis=[1, 2, 3])[:, None, None, None]

        @tf.custom_gradient
        def identity(features):
            def gradient(upstream):
                return tf.where(black, tf.cast(np.inf, upstream.dtype), upstream)

            return features, gradient

        return identity(features)


def encoder():
    """A smooth network: a ReLU would amplify differences in the last bit of a sum."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(6, 3, strides=2, use_bias=False)(image)
    x = OverflowAtBlack()(x, image)
    x = layers.Activation("gelu")(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, layers.Dense(12, use_bias=False)(layers.Flatten()(x)))


def projector(dim):
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(20, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("gelu"),
            layers.Dense(dim, use_bias=False),
        ]
    )


def optimizer(name, loss_scale=False, learning_rate=0.003, **arguments):
    lars = name == "lars"
    chosen = (
        keras_bt.LARS(2.0, **arguments)
        if lars
        else keras.optimizers.SGD(learning_rate, **arguments)
    )
    return keras.optimizers.LossScaleOptimizer(chosen) if loss_scale else chosen


def dataset(case):
    data = images(case.get("images", IMAGES))
    if case.get("overflow"):
        data[OVERFLOWING] = 0
    if case.get("pairs") or case.get("overflow"):  # a view would brighten the black image
        data = (data, np.clip(data, 0, 100))
    if case.get("sizes"):
        sizes = np.random.default_rng(1).integers(SIZE, 20 * SIZE, (len(data), 2))
        data = {"image": data, "size": sizes.astype("int32")}
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return tf.data.Dataset.from_tensor_slices(data).batch(BATCH).with_options(options)


def copies_of(strategy, variable):
    """The values of a variable on each replica of this process."""
    return np.stack([copy.numpy() for copy in strategy.experimental_local_results(variable.value)])


def train(strategy, case):
    keras.config.set_floatx(case.get("floatx", "float32"))
    keras.config.set_dtype_policy(case.get("policy", keras.config.floatx()))
    keras.utils.set_random_seed(1)
    with strategy.scope():
        views = None
        if not (case.get("pairs") or case.get("overflow")):
            views = keras_bt.small_image_views(SIZE, blur_rate=0.5, seed=0)
        parts = case.get("micro_batches", 1)
        model = keras_bt.BarlowTwins(encoder(), projector(24), views, micro_batches=parts)
        keras_bt.sync_batch_norm(model)
        target = case.get("redundancy_target", 0.0)
        loss = keras_bt.BarlowTwinsLoss(
            0.01,
            form=case.get("form", "auto"),
            redundancy_target=target,
            redundancy=case.get("redundancy", "squares"),
        )
        model.compile(
            optimizer(**case["optimizer"]), loss, hold_nonfinite=case.get("hold_nonfinite", False)
        )
    batches = dataset(case)
    history = model.fit(batches, epochs=case.get("epochs", 5), verbose=0).history
    result = {
        f"weights/{index:02}": copies_of(strategy, weight)
        for index, weight in enumerate(model.weights)
    }
    result.update({f"history/{name}": np.array(values) for name, values in history.items()})
    if case.get("evaluate"):
        scores = model.evaluate(batches, verbose=0, return_dict=True)
        result.update({f"evaluate/{name}": np.array(value) for name, value in scores.items()})
        result["predict"] = model.predict(batches, verbose=0)
    if hasattr(model.optimizer, "dynamic_scale"):
        result["scale"] = copies_of(strategy, model.optimizer.dynamic_scale)
    if model.step_guard:
        term = model.step_guard.nonfinite_term()
        result["finite steps"] = np.array([model.step_guard.finite_steps(), term == "gradient"])
    return result


def train_foreign(strategy, case):
    """Trains another Keras model with our loss to predict given embeddings."""
    keras.config.set_floatx("float32")
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(2)
    given = random.normal(size=(IMAGES, 12)).astype("float32")
    inputs = (given @ random.normal(size=(12, 16)) + 3).astype("float32")
    with strategy.scope():
        last = layers.Dense(12, use_bias=False)  # the gradient of a bias is rounding error
        model = keras.Sequential([keras.Input((16,)), layers.Dense(20, "gelu"), last])
        model.compile(optimizer(**case["optimizer"]), keras_bt.BarlowTwinsLoss(form=case["form"]))
    pairs = tf.data.Dataset.from_tensor_slices((inputs, given)).batch(BATCH)
    history = model.fit(pairs, epochs=5, verbose=0).history
    weights = {f"weights/{i}": copies_of(strategy, w) for i, w in enumerate(model.weights)}
    return {**weights, "history/loss": np.array(history["loss"])}


def main(cases, folder):
    strategy = keras_bt.strategy(os.environ["STRATEGY"], devices=os.environ.get("DEVICES"))
    results = {}
    for name, case in json.loads(cases).items():
        arrays = (train_foreign if case.get("foreign") else train)(strategy, case)
        results.update({f"{name}/{key}": value for key, value in arrays.items()})
    worker = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)
    np.savez(Path(folder) / str(worker), **results)
    workers.leave_together(strategy)


if __name__ == "__main__":
    main(*sys.argv[1:])
