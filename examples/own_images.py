"""A folder of your own images: settings by rule, training, features, neighbours, export.

    python examples/own_images.py --image_dir=photos --epochs=20 --out=runs/photos_by_hand

The script prints every setting with its reason and the loss of each epoch. Then it prints the
images nearest to the first one. If the folder has a subfolder for each class, it also prints the
k-NN accuracy on every fifth image, beside that of raw pixels. It writes `features.npz` and
`encoder/` to `--out`. `keras-bt pretrain` also keeps a budget of time, and resumes runs that were
killed.
"""

# Before keras and tensorflow, because it sets TensorFlow up.
import keras_bt  # isort: split

from pathlib import Path

import keras
from absl import app, flags, logging

from keras_bt import data

FLAGS = flags.FLAGS
flags.DEFINE_string("image_dir", None, "Folder of images, at any depth.", required=True)
flags.DEFINE_string("out", "runs/own_images", "Folder to write to.")
flags.DEFINE_integer("image_size", 64, "Side of the images for the encoder, in pixels.")
flags.DEFINE_integer("width", 32, "Channels of the encoder's first stage.")
flags.DEFINE_integer("epochs", 20, "Passes over the images.")


def main(_):
    keras.utils.set_random_seed(0)

    # Every file is decoded once here. Unreadable ones are left out with a warning.
    source = data.from_folder(FLAGS.image_dir, bad_images="skip")

    # A recipe holds all settings. The rules choose them by the number and the size of the images.
    # `fitted` fits them to a short run; without it they are the published ones, for a GPU.
    count = source.train.count
    recipe = keras_bt.Recipe.for_images(count, FLAGS.image_size, epochs=FLAGS.epochs)
    recipe = recipe.fitted(count, width=FLAGS.width)
    print(recipe.describe())
    source = source.framed(recipe.framing)  # views are cut from the whole of each image

    # It builds what `BarlowTwins.fit` needs: a model, a loss, and an optimizer with a schedule.
    steps_per_epoch = count // recipe.batch_size
    model = recipe.build_model(seed=0)
    optimizer = recipe.build_optimizer(steps_per_epoch, recipe.epochs * steps_per_epoch)
    model.compile(optimizer, recipe.build_loss())
    batches = source.train.shuffled_batches(recipe.batch_size, recipe.load_size, seed=0)
    model.fit(batches, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch, verbose=2)

    # The features of all images of the folder, in a file, and a search in it.
    out = Path(FLAGS.out)
    features_file = out / "features.npz"
    features_file.unlink(missing_ok=True)
    keras_bt.extract_folder_features(
        model.encoder, FLAGS.image_dir, features_file, recipe.image_size, framing=recipe.framing
    )
    features = keras_bt.read_features(features_file)
    paths, vectors = next(features.parts())
    print(f"Nearest to {paths[0]}, by cosine:")
    for path, cosine in keras_bt.nearest_images(features, vectors[0], count=4)[1:]:
        print(f"  {cosine:.3f}  {path}")

    # Class folders are labels. They play no part in training.
    if source.test is not None:
        pixels = keras.layers.Flatten()
        for name, encoder in (("raw pixels", pixels), ("encoder", model.encoder)):
            train, test = (
                keras_bt.extract_features(encoder, images.batches(256, recipe.image_size))
                for images in (source.train, source.test)
            )
            print(f"k-NN accuracy of {name}: {keras_bt.knn_accuracy(*train, *test):.3f}")

    keras_bt.export_encoder(model.encoder, out / "encoder", framing=recipe.framing, overwrite=True)
    print(f"The encoder is in {out / 'encoder'}.")


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
