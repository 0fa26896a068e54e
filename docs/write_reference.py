"""Writes the pages of docs/reference/ from the code: docstrings, flags, recipes, the schema.

    python docs/write_reference.py

The pages are committed, so that they can be read without the site; a test compares them with the
code.
"""

import dataclasses
import json
import re
import textwrap
from pathlib import Path

import griffe

from keras_bt._support.version import __version__
from keras_bt.cli.command import describe_flag
from keras_bt.cli.main import COMMANDS, find_command
from keras_bt.config.named import recipes
from keras_bt.config.recipe import Recipe
from keras_bt.report.content import format_setting

DOCS = Path(__file__).parent
MOST_ARGUMENTS = 25
NOTE = "<!-- Written by docs/write_reference.py from the code. -->"

API = {  # heading: module, names
    "Model and loss": ("", "BarlowTwins BarlowTwinsLoss loss_floor LARS AdamW warmup_cosine"),
    "Networks": ("", "resnet18 resnet34 resnet50 resnet101 conv4 projector import_torch_resnet"),
    "Views": ("", "BarlowTwinsView paper_views small_image_views"),
    "Recipes": ("", "Recipe recipes"),
    "Training": ("", "ResumableTraining StepProfile"),
    "Several devices": (
        "",
        "strategy distribute_batches sync_batch_norm SyncBatchNormalization",
    ),
    "Evaluation": (
        "",
        "extract_features knn_accuracy knn_sweep linear_probe few_label_accuracy "
        "linear_evaluation fine_tune labelled_subset",
    ),
    "Callbacks": ("", "EmbeddingHealth KNNMonitor LinearProbeMonitor"),
    "Export": ("", "export_encoder load_encoder export_onnx export_litert"),
    "Features of folders": ("", "extract_folder_features read_features nearest_images"),
    "Images: `keras_bt.data`": (
        "data",
        "Source Images digits from_folder prepare from_prepared Prepared from_files image_files "
        "from_tfrecords from_tars from_name from_tfds from_arrays in_memory fit_square",
    ),
    "Mathematics: `keras_bt.functional`": (
        "functional",
        "cross_correlation standardize invariance_and_redundancy knn_vote effective_rank spread",
    ),
}


def pages():
    """Returns the text of each page by its file name."""
    return {
        "api.md": api_page(),
        "commands.md": commands_page(),
        "recipes.md": recipes_page(),
        "result.md": result_page(),
    }


def api_page():
    """Returns the public functions and classes, from their docstrings."""
    package = griffe.load(
        "keras_bt",
        search_paths=[DOCS.parent],
        docstring_parser="google",
        docstring_options={"warn_missing_types": False},
    )
    lines = [
        "# Python API",
        "",
        NOTE,
        "",
        f"The public names of keras_bt {__version__}. Import keras_bt before keras and tensorflow.",
        "Shapes are in brackets; float images are in [0, 1], uint8 images in 0…255.",
    ]
    for heading, (module, names) in API.items():
        lines += ["", f"## {heading}"]
        room = package[module] if module else package
        for name in names.split():
            path = ".".join(filter(None, ["keras_bt", module, name]))
            found = room[name]
            lines += member(path, found.final_target if found.is_alias else found, "###")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def member(path, found, level):
    """Returns the lines of a function, class or value, and of a class's own methods."""
    lines = ["", f"{level} {path}", ""]
    if not found.is_attribute:
        lines += ["```text", signature_of(path, found), "```", ""]
    if found.docstring:
        lines += docstring_lines(found.docstring)
    if found.is_class:
        for name, method in found.members.items():
            documented = method.docstring and not name.startswith("_")
            if documented and method.is_function:
                lines += member(f"{path}.{name}", method, "####")
    return lines


def signature_of(path, found):
    """Returns the call of a function or class, a line for each argument if it is long."""
    function = found.members.get("__init__", found) if found.is_class else found
    name = path.removeprefix("keras_bt.").split(".")[-1]
    if len(function.parameters) > MOST_ARGUMENTS:  # the fields of a recipe have a page
        return f"{name}(**fields)"
    stars = {"variadic positional": "*", "variadic keyword": "**"}
    arguments, bare_star = [], False
    for argument in function.parameters:
        if argument.name in ("self", "cls"):
            continue
        kind = argument.kind.value
        if kind == "keyword-only" and not bare_star:
            arguments, bare_star = [*arguments, "*"], True
        bare_star = bare_star or kind == "variadic positional"
        text = stars.get(kind, "") + argument.name
        if argument.default is not None and kind not in stars:
            text += f"={argument.default}"
        arguments.append(text)
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= 90:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), ")"])


def docstring_lines(docstring):
    """Returns a docstring as Markdown."""
    lines = []
    for section in docstring.parse("google"):
        kind, value = section.kind.value, section.value
        if kind == "text":
            lines += [*as_markdown(value), ""]
        elif kind in ("parameters", "attributes", "other parameters"):
            lines += [f"**{section.title or TITLES[kind]}**", ""]
            lines += [f"- `{one.name}`: {' '.join(one.description.split())}" for one in value]
            lines += [""]
        elif kind == "returns":
            lines += ["**Returns**", "", *(" ".join(one.description.split()) for one in value), ""]
        elif kind == "raises":
            lines += ["**Raises**", ""]
            lines += [f"- `{one.annotation}`: {' '.join(one.description.split())}" for one in value]
            lines += [""]
        elif kind == "admonition" and value.annotation.startswith("example"):
            lines += ["```pycon", value.description, "```", ""]
        elif kind == "admonition":
            title = section.title or value.annotation.capitalize()
            lines += [f"**{title}**", "", *as_items(value.description), ""]
        else:
            raise ValueError(f"write_reference: unknown section {kind!r}")
    return lines


TITLES = {
    "parameters": "Args",
    "other parameters": "Args",
    "attributes": "Attributes",
}


def as_markdown(text):
    """Returns text whose indented paragraphs, which are formulas, are fenced."""
    lines = []
    for paragraph in text.strip("\n").split("\n\n"):
        if paragraph.startswith("    "):
            lines += ["```text", *textwrap.dedent(paragraph).splitlines(), "```", ""]
        else:
            lines += [*(line.strip() for line in paragraph.splitlines()), ""]
    return lines[:-1]


def as_items(text):
    """Returns text as a list if its paragraphs are "name: text" with indented further lines."""
    items = [" ".join(item.split()) for item in re.split(r"\n(?! )", text)]
    if not all(re.match(r"\w+: ", item) for item in items):
        return as_markdown(text)
    return [re.sub(r"^(\w+): ", r"- `\1`: ", item) for item in items]


def commands_page():
    """Returns each command with its flags, as its help has them."""
    lines = ["# Commands and flags", "", NOTE, ""]
    lines += ["`keras-bt COMMAND --flag=value`. `keras-bt COMMAND --help` prints the same.", ""]
    lines += [f"- [{name}](#{name}): {find_command(name).summary}" for name in COMMANDS]
    for name in COMMANDS:
        command = find_command(name)
        lines += ["", f"## {name}", ""]
        lines += as_markdown(textwrap.dedent(command.doc).strip())
        for title, flags in command.flags_by_title().items():
            lines += ["", f"### {title} of {name}", ""]
            lines += ["| flag | default | meaning |", "|---|---|---|"]
            for flag in flags:
                value, default, text = describe_flag(flag)
                default = f"`{default}`" if default else ""
                lines.append(f"| `{escaped(value)}` | {default} | {escaped(text)} |")
    return "\n".join(lines) + "\n"


def recipes_page():
    """Returns the fields of a recipe, and the values of each recipe with their sources."""
    fields = [field for field in dataclasses.fields(Recipe) if field.name != "sources"]
    lines = ["# Recipes", "", NOTE, ""]
    lines += ["A recipe holds all settings of a run except the seed. Each field is a flag."]
    lines += ["", "## Fields", "", "| field | meaning |", "|---|---|"]
    lines += [f"| `{field.name}` | {escaped(field.metadata['description'])} |" for field in fields]
    for name, recipe in recipes.items():
        lines += ["", f"## {name}", "", "| field | value | source |", "|---|---|---|"]
        for field in fields[1:]:
            value = format_setting(getattr(recipe, field.name))
            lines.append(f"| `{field.name}` | {value} | {escaped(recipe.sources[field.name])} |")
    return "\n".join(lines) + "\n"


def result_page():
    """Returns the fields of a result, from its JSON Schema."""
    schema = json.loads((DOCS / "reference/result.schema.json").read_text(encoding="utf-8"))
    lines = ["# result.json", "", NOTE, "", schema["description"], ""]
    lines += ["As a [JSON Schema](result.schema.json).", ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    for path, field in fields_of(schema, schema):
        kinds = field.get("type", "object")
        kinds = ", ".join(kinds) if isinstance(kinds, list) else kinds
        lines.append(f"| `{path}` | {kinds} | {escaped(field.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def fields_of(schema, root, prefix=""):
    """Yields the path and schema of each field, those of objects after the object."""
    for name, field in schema["properties"].items():
        shared = root["$defs"][field["$ref"].split("/")[-1]] if "$ref" in field else {}
        described = {**shared, **field}
        yield f"{prefix}{name}", described
        if "properties" in described:
            yield from fields_of(described, root, f"{prefix}{name}.")


def escaped(text):
    """Returns text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def main():
    """Writes the pages."""
    for name, text in pages().items():
        (DOCS / "reference" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
