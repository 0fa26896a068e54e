"""The folders of ARCHITECTURE.md ("rooms"): every file is in one, imports have one direction."""

import ast
from pathlib import Path

import pytest

import keras_bt

PACKAGE = Path(keras_bt.__file__).parent

# A file imports from its own room and from rooms above it in this list.
ROOMS = [
    "_support",
    "functional",
    "data",
    "distribution",
    "layers",
    "encoders",
    "model",
    "training",
    "config",
    "evaluation",
    "export",
    "features",
    "report",
    "run",
    "cli",
]
LOOSE = {"__init__.py", "__main__.py", "py.typed"}


def imported_modules(path, package=PACKAGE):
    """The modules of the package that a file imports anywhere in it, as paths of names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1:] for name in names if name.startswith(f"{package.name}."))


def wrong_directions(package):
    """Imports of a room that comes later in the list."""
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0]
        for module in imported_modules(path, package) if room in ROOMS else ():
            if module[0] in ROOMS and ROOMS.index(module[0]) > ROOMS.index(room):
                yield f"{path.relative_to(package)} imports {'.'.join(module)}"


def cycles(package):
    """Rooms with files that import each other in a cycle."""
    for room in (folder for folder in package.iterdir() if folder.name in ROOMS):
        files = {path.stem for path in room.glob("*.py")} - {"__init__"}
        needs = {
            name: {
                module[1]
                for module in imported_modules(room / f"{name}.py", package)
                if module[0] == room.name and module[1] in files
            }
            for name in files
        }
        while needs:
            free = {name for name, others in needs.items() if not others & set(needs)}
            if not free:
                yield f"{room.name}: a cycle among {sorted(needs)}"
                break
            needs = {name: others for name, others in needs.items() if name not in free}


def test_every_file_is_in_a_room():
    loose = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert loose == {*ROOMS, *LOOSE}


@pytest.mark.slow
def test_imports_go_up_the_list():
    assert not list(wrong_directions(PACKAGE))


@pytest.mark.slow
def test_files_of_a_room_import_each_other_one_way():
    assert not list(cycles(PACKAGE))


@pytest.mark.parametrize(
    "line",
    [
        "from pack.data import {other}",
        "from pack.data.{other} import x",
        "import pack.data.{other}",
    ],
)
def test_a_cycle_inside_a_room_is_found(tmp_path, line):
    room = tmp_path / "pack" / "data"
    room.mkdir(parents=True)
    (room / "__init__.py").touch()
    (room / "one.py").write_text(line.format(other="two"))
    (room / "two.py").write_text("x = 1")
    assert not list(cycles(tmp_path / "pack"))
    (room / "two.py").write_text(line.format(other="one"))
    assert list(cycles(tmp_path / "pack")) == ["data: a cycle among ['one', 'two']"]


@pytest.mark.parametrize(
    "line", ["from pack.run import x", "from pack import run", "import pack.run.x"]
)
def test_an_import_down_the_list_is_found(tmp_path, line):
    room = tmp_path / "pack" / "data"
    room.mkdir(parents=True)
    (room / "one.py").write_text(line)
    (found,) = wrong_directions(tmp_path / "pack")
    assert found.startswith("data/one.py imports run")


def test_functional_imports_no_keras():
    for path in (PACKAGE / "functional").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in [getattr(node, "module", None) or node.names[0].name]
        }
        allowed = {"keras_bt", "collections", "dataclasses", "math", "tensorflow", "typing"}
        assert names <= allowed, path


def test_private_api_is_used_in_compat_only():
    private = ("tensorflow.python", "keras.src", "__internal__")
    for path in PACKAGE.rglob("*.py"):
        if path.name != "compat.py":
            text = path.read_text(encoding="utf-8")
            assert not [name for name in private if f"{name}." in text or f"{name} " in text], path


def test_public_names_are_listed_and_documented():
    assert set(keras_bt.__all__) <= set(dir(keras_bt))
    for name in keras_bt.__all__:
        if name not in ("recipes", "__version__"):
            assert getattr(keras_bt, name).__doc__, name
