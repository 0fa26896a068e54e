"""The model card of an exported encoder: README.md in its folder."""

from collections.abc import Mapping
from typing import Any

from keras_bt.functional.framing import IN_WORDS

PAPER = """@inproceedings{zbontar2021barlow,
  title     = {Barlow Twins: Self-Supervised Learning via Redundancy Reduction},
  author    = {Zbontar, Jure and Jing, Li and Misra, Ishan and LeCun, Yann and Deny, St{\\'e}phane},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""
TRAINING = ("recipe", "dataset", "images", "epochs", "steps", "batch_size", "seed", "seconds")
ACCURACIES = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "ten labels per class",
}
NO_LICENCE = "Not stated at the export. keras_bt claims no rights to the encoders it trains."


def model_card(description: Mapping[str, Any]) -> str:
    """Renders the model card of an exported encoder.

    Args:
        description: The metadata that `write_description` stores.

    Returns:
        Markdown.

    Example:
        >>> page = model_card({"image_size": 32, "input_shape": (None, 32, 32, 3), "features": 8})
        >>> page.splitlines()[0]
        '# Image encoder, 8 features'
    """
    parts = [
        f"# Image encoder, {description['features']} features",
        _summary(description),
        "## Use",
        _use(description),
        *_section("How it was trained", _training(description)),
        *_section("Accuracy", _accuracies(description)),
        "## Licence",
        str(description.get("licence", NO_LICENCE)),
        "## How to cite",
        f"The method is Barlow Twins; {_exporter(description)}.\n\n```\n{PAPER}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(description: Mapping[str, Any]) -> str:
    height, width, channels = description["input_shape"][1:]
    size = f"{height} x {width} pixels" if height and width else "any height and width"
    if description["image_size"] and not (height and width):
        size += f", intended size {description['image_size']} x {description['image_size']} pixels"
    return (
        f"Maps float32 images `[batch, height, width, {channels}]`, RGB in [0, 1], to float32 "
        f"features `[batch, {description['features']}]`. Image size: {size}. The encoder "
        "normalizes the images itself."
    )


def _use(description: Mapping[str, Any]) -> str:
    lines = [
        "import tensorflow as tf",
        "import tensorflow_hub as hub",
        "",
        "module = hub.load(folder)                    # or tf.saved_model.load",
        "features = module(images)                    # images / 255 if they are uint8",
        "layer = hub.KerasLayer(folder, trainable=True)   # in tf_keras, to fine-tune",
    ]
    framing = IN_WORDS[description.get("framing", "square")]
    if "serving_encoded" in description.get("signatures", ()):
        lines += [
            "",
            f"# Image files of any size; {framing} to the encoder's size.",
            'encode = module.signatures["serving_encoded"]',
            'features = encode(image_bytes=tf.constant([jpeg_or_png_bytes]))["features"]',
        ]
    code = "```python\n" + "\n".join(lines) + "\n```"
    return f"{code}\n\nIn Keras 3, `keras_bt.load_encoder(folder, trainable=True)` returns a layer."


def _training(description: Mapping[str, Any]) -> str:
    known = [name for name in TRAINING if description.get(name) is not None]
    return "\n".join(f"- {name.replace('_', ' ')}: {description[name]}" for name in known)


def _accuracies(description: Mapping[str, Any]) -> str:
    sources = {
        "this encoder": description.get("trained"),
        "untrained": description.get("untrained"),
        "raw pixels": description.get("pixels"),
    }
    rows = {name: accuracies for name, accuracies in sources.items() if accuracies}
    if not any(value is not None for row in rows.values() for value in row.values()):
        return ""
    table = [
        f"| accuracy | {' | '.join(ACCURACIES.values())} |",
        f"|---|{'---|' * len(ACCURACIES)}",
        *(
            f"| {name} | {' | '.join(_percent(row.get(key)) for key in ACCURACIES)} |"
            for name, row in rows.items()
        ),
    ]
    protocol = description.get("protocol")
    return "\n".join(table) + (f"\n\nProtocol: {protocol}" if protocol else "")


def _exporter(description: Mapping[str, Any]) -> str:
    """Names keras_bt and its version; older exports do not store it."""
    version = description.get("keras_bt_version", "")
    return f"the encoder was exported by keras_bt {version}".rstrip()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []
