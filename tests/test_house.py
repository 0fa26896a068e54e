"""The house of ARCHITECTURE.md: what may import what."""

import ast
from pathlib import Path

import pytest

import keras_bt

PACKAGE = Path(keras_bt.__file__).parent

# From the ground up; a file imports from lines before its own, folders count as one line.
HOUSE = [
    "onednn",
    "errors",
    "extras",
    "atomic",
    "settings",
    "state",
    "draws",
    "progress_bar",
    "ledger",
    "functional",
    "collectives",
    "mixed_samples",
    "micro_batches",
    "batch_norm",
    "losses",
    "optimizers",
    "nonfinite",
    "views",
    "networks",
    "model_input",
    "placement",
    "distributed_model",
    "model",
    "data",
    "rules",
    "recipe",
    "recipes",
    "distribute",
    "workers",
    "launch",
    "checkpoint",
    "interruption",
    "pace",
    "one_training",
    "training_state",
    "resume",
    "evaluation",
    "ablations",
    "export",
    "representations",
    "profile",
    "report",
    "run",
]


def place(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Names of keras_bt's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        yield from (module.split(".")[1:] for module in modules if module.startswith("keras_bt."))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_file_has_its_place():
    assert {place(path) for path in FILES} == set(HOUSE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up_the_house(path):
    for module in imports(path):
        if place(path) != module[0]:
            assert HOUSE.index(module[0]) < HOUSE.index(place(path)), f"imports {module[0]}"


def test_files_of_a_folder_import_each_other_one_way():
    for folder in {path.parent for path in FILES} - {PACKAGE}:
        needs = {
            path.stem: {m[1] for m in imports(path) if m[0] == folder.name and len(m) > 2}
            for path in folder.glob("*.py")
            if path.stem != "__init__"
        }
        while needs:
            free = {name for name, others in needs.items() if not others & set(needs)}
            assert free, f"{folder.name}: a circle among {sorted(needs)}"
            needs = {name: others for name, others in needs.items() if name not in free}


def test_the_ground_floor_knows_no_keras():
    for path in (PACKAGE / "functional").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in [getattr(node, "module", None) or node.names[0].name]
        }
        assert names <= {"keras_bt", "collections", "dataclasses", "math", "tensorflow"}, path


def test_public_names_are_listed_and_there():
    assert set(keras_bt.__all__) <= set(dir(keras_bt))
    for name in keras_bt.__all__:
        if name != "recipes":
            assert getattr(keras_bt, name).__doc__, name
