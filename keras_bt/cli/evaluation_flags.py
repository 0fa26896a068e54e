"""The flags of commands that evaluate an encoder on labelled images."""

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import keras
from absl.flags import FlagValues

from keras_bt import evaluation
from keras_bt.cli.command import FlagGroup, Invocation
from keras_bt.cli.encoder_flags import ENCODERS, define_encoder_flags, framing_of_flags
from keras_bt.cli.image_flags import IMAGES, define_image_flags, open_source
from keras_bt.cli.ledger_flag import add_to_ledger, check_ledger, define_ledger_flag
from keras_bt.data import Images, Source
from keras_bt.export import image_size_of

EXCLUSIVE = (ENCODERS, IMAGES)


def define_evaluation_flags(values: FlagValues) -> None:
    """Adds the flags that name an encoder, labelled images and their augmentation."""
    define_encoder_flags(values)
    define_image_flags(values)
    images = FlagGroup(values, "Images")
    images.integer("image_size", None, "Side of the images, for an encoder that takes any size.", 1)
    views = FlagGroup(values, "Augmentation of training images")
    views.list(
        "crop_area", ["0.08", "1"], "Lowest and highest share of the area that a crop keeps."
    )
    views.float("flip_rate", 0.5, "Probability of mirroring an image.", 0.0, 1.0)
    define_ledger_flag(values)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labelled images: for training a classifier, and held out."""

    source: Source
    train: Images
    test: Images
    classes: int
    image_size: int


def open_labelled(flags: FlagValues, encoder: keras.Layer) -> Labelled:
    """The labelled images that the flags name, and their side for this encoder.

    Raises:
        ValueError: If the images have no labels, or the encoder takes another size.
    """
    image_size = image_size_of(encoder, flags.image_size)
    source = open_source(flags, flags.dataset or "digits").framed(framing_of_flags(flags, encoder))
    train, test = source.for_evaluation()
    if test is None or source.classes is None:
        raise ValueError(f"{source.name} has no labels to evaluate with.")
    return Labelled(source, train, test, source.classes, image_size)


def numbers(flags: FlagValues, name: str) -> tuple[float, ...]:
    """The value of a flag that takes numbers."""
    texts = getattr(flags, name)
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise ValueError(
            f"--{name} takes numbers separated by commas, got {','.join(texts)}."
        ) from None


def open_view(flags: FlagValues, image_size: int) -> keras.Layer:
    """The augmentation of training images that the flags name."""
    crop_area = numbers(flags, "crop_area")
    if len(crop_area) != 2:
        raise ValueError(f"--crop_area takes two numbers, got {len(crop_area)}.")
    return evaluation.crop_and_flip(image_size, crop_area, flags.flip_rate, flags.seed)


def description(flags: FlagValues, labelled: Labelled) -> dict[str, Any]:
    """The encoder and the images of the evaluation, for the result; called after it."""
    return {
        "encoder_dir": flags.encoder,
        "model": flags.model,
        "dataset": labelled.source.name,
        "train_images": labelled.train.count,
        "test_images": labelled.test.count,
        "replaced_images": len(labelled.train.replaced | labelled.test.replaced),
    }


def print_result(invocation: Invocation, measure: Callable[[FlagValues], dict[str, Any]]) -> None:
    """Prints the result of `measure` as JSON, and adds it to the ledger."""
    started = time.monotonic()
    check_ledger(invocation.flags)
    result = measure(invocation.flags)
    print(json.dumps(result), flush=True)
    columns = ("seed", "protocol", "encoder_dir", "model")
    add_to_ledger(
        invocation,
        recipe=None,
        seed=result["seed"],
        minutes=(time.monotonic() - started) / 60,
        protocol=result["protocol"],
        figures={name: value for name, value in result.items() if name not in columns},
    )
