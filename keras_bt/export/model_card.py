"""The page beside an exported encoder that says what it is, for people."""

PAPER = """@inproceedings{zbontar2021barlow,
  title     = {Barlow Twins: Self-Supervised Learning via Redundancy Reduction},
  author    = {Zbontar, Jure and Jing, Li and Misra, Ishan and LeCun, Yann and Deny, St{\\'e}phane},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""
TRAINING = ("recipe", "dataset", "images", "epochs", "steps", "batch_size", "seed", "seconds")
FIGURES = {
    "knn_accuracy": "k-NN",
    "linear_accuracy": "linear",
    "few_label_accuracy": "ten labels a class",
}
NOT_STATED = "None was stated at the export. keras_bt claims no rights to what it trains."


def model_card(description):
    """A README.md of an exported encoder.

    Args:
        description: Dict, of `description.describe`: what is in the SavedModel, and whatever of
            a run's result there is.

    Returns:
        String of Markdown.

    Example:
        >>> page = model_card({"image_size": 32, "input_shape": (None, 32, 32, 3), "features": 8})
        >>> page.splitlines()[0]
        '# Image encoder, 8 features'
    """
    parts = [
        f"# Image encoder, {description['features']} features",
        _what(description),
        "## Use",
        _use(description),
        *_section("How it was trained", _training(description)),
        *_section("How good it is", _figures(description)),
        "## Licence",
        str(description.get("licence", NOT_STATED)),
        "## How to cite",
        f"The method is Barlow Twins; the encoder was exported by keras_bt.\n\n```\n{PAPER}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _what(description):
    height, width, channels = description["input_shape"][1:]
    size = f"{height} x {width} pixels" if height and width else "any height and width"
    if description["image_size"] and not (height and width):
        size += f"; it is meant for {description['image_size']} x {description['image_size']}"
    return (
        f"From float32 images `[batch, height, width, {channels}]`, RGB in [0, 1], to float32 "
        f"features `[batch, {description['features']}]`. Images: {size}. Normalization is inside."
    )


def _use(description):
    lines = [
        "import tensorflow as tf",
        "import tensorflow_hub as hub",
        "",
        "module = hub.load(folder)                    # or tf.saved_model.load",
        "features = module(images)                    # images / 255 if they are uint8",
        "layer = hub.KerasLayer(folder, trainable=True)   # in tf_keras, to fine-tune",
    ]
    if "serving_encoded" in description.get("signatures", ()):
        lines += [
            "",
            "# Files of any size: the central square of each is resized to the encoder's size.",
            'encode = module.signatures["serving_encoded"]',
            'features = encode(image_bytes=tf.constant([jpeg_or_png_bytes]))["features"]',
        ]
    code = "```python\n" + "\n".join(lines) + "\n```"
    return f"{code}\n\nIn Keras 3: `keras_bt.load_encoder(folder, trainable=True)` is a layer."


def _training(description):
    told = [name for name in TRAINING if description.get(name) is not None]
    return "\n".join(f"- {name.replace('_', ' ')}: {description[name]}" for name in told)


def _figures(description):
    rows = {
        "this encoder": description.get("trained"),
        "untrained": description.get("untrained"),
        "raw pixels": description.get("pixels"),
    }
    rows = {name: figures for name, figures in rows.items() if figures}
    if not any(value is not None for figures in rows.values() for value in figures.values()):
        return ""
    table = [
        f"| accuracy | {' | '.join(FIGURES.values())} |",
        f"|---|{'---|' * len(FIGURES)}",
        *(
            f"| {name} | {' | '.join(_percent(figures.get(key)) for key in FIGURES)} |"
            for name, figures in rows.items()
        ),
    ]
    protocol = description.get("protocol")
    return "\n".join(table) + (f"\n\nProtocol: {protocol}" if protocol else "")


def _percent(value):
    return "" if value is None else f"{100 * value:.1f} %"


def _section(title, text):
    return [f"## {title}", text] if text else []
