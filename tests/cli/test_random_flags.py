"""Random wrong command lines: each gets one line on stderr and status 2, and never a traceback."""

import random

import pytest

from keras_bt.cli.main import COMMANDS, find_command

PLACES = (
    "image_dir data_dir tfrecords tars workdir out encoder model features image checkpoint keras"
)
PLACES = {*PLACES.split(), "projector", "ledger", "flagfile"}
WRONG_NUMBERS = ["x", "", "nan", "1e", "0x", "1,5", "--", "None", "1 2", "٣.x"]
VALUES = [*WRONG_NUMBERS, "0", "-1", "1", "0.5", "3.5", "inf", "-inf", "1e400", "9" * 30, "true"]
VALUES += ["a,b", "0.5,0.1", "1,1,1", ",", "[", "é", "*", "%s", "{}", "digits", "resnet18", "sgd"]

NUMBERS = {
    "int": ["-5", "0", "1", "3", "9" * 30],
    "float": ["-1", "0", "0.5", "2", "nan", "inf", "1e300"],
    "bool": ["true", "false"],
    "comma separated list of strings": ["", "1", "0.5,0.1", "a,b", "8,8", "nan,nan", ","],
    "string": ["", "x", "resnet18", "cpu:0", "é"],
}


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Paths that hold nothing a command can use."""
    root = tmp_path_factory.mktemp("random flags [1]")
    (root / "empty").mkdir()
    (root / "text.txt").write_text("--what=5\n--width\n")
    (root / "broken").mkdir()
    (root / "broken" / "a.png").write_bytes(b"\x89PNG\r\n")
    (root / "encoder.keras").write_bytes(b"PK\x03\x04")
    (root / "saved").mkdir()
    (root / "saved" / "saved_model.pb").write_bytes(b"\x00\x01")
    (root / "features.npz").write_bytes(b"PK")
    (root / "records.tfrecord").write_bytes(b"\x00" * 40)
    return [root / "missing", root / "text.txt" / "below", *sorted(root.iterdir()), "", "\0"]


def wrong_argument(draw, flags):
    """An argument that the command cannot accept, whatever else is given."""
    numbers = [name for name in flags if flags[name].flag_type() in ("int", "float")]
    enums = [name for name in flags if flags[name].flag_type() == "string enum"]
    kind = draw.choice(["name", "number", "choice", "value"])
    if kind == "number" and numbers:
        return f"--{draw.choice(numbers)}={draw.choice(WRONG_NUMBERS)}"
    if kind == "choice" and enums:
        return f"--{draw.choice(enums)}={draw.choice(['', 'x', 'None', '5'])}"
    if kind == "value":  # a flag at the end, without its value
        return f"--{draw.choice([name for name in flags if flags[name].flag_type() != 'bool'])}"
    name = list(draw.choice(list(flags)))
    name[draw.randrange(len(name))] = draw.choice("qx_Z")
    name = "".join(name) + draw.choice(["", "s", "_x"])
    return f"--{name}={draw.choice(VALUES)}" if name not in flags else "--no_such_flag"


def random_line(draw, name, places):
    """Arguments for a command: some random, and the last one wrong."""
    flags = find_command(name)._new_flags()
    names = [each for each in flags if each not in ("help", "helpfull", "describe")]
    arguments = []
    for flag in draw.choices(names, k=draw.randrange(5)):
        value = draw.choice(places) if flag in PLACES else draw.choice(VALUES)
        arguments.append(f"--{flag}" if draw.random() < 0.1 else f"--{flag}={value}")
    if draw.random() < 0.1:
        arguments.append(str(draw.choice([*places, *VALUES])))
    return [*arguments, wrong_argument(draw, flags)]


def line_without_data(draw, name, places):
    """Arguments for a command that are well formed, but nothing they name can be used."""
    command = find_command(name)
    flags = command._new_flags()
    paths = [each for each in flags if each in PLACES - {"flagfile", "ledger"}]
    given = {*command.required, *draw.sample(paths, draw.randrange(len(paths) + 1))}
    for group in command.exclusive:  # one of each group, sometimes two
        given -= set(group) if draw.random() < 0.8 else set()
        given.add(draw.choice([each for each in group if each in flags]))
    others = [each for each in flags if each not in ("help", "helpfull", "describe", "flagfile")]
    arguments = []
    for flag in [*sorted(given), *draw.choices(others, k=draw.randrange(4))]:
        if flag in PLACES or flag == "dataset":
            value = draw.choice(places)
        elif flag == "recipe":
            value = draw.choice(["", "digit", "imagenet"])
        elif flags[flag].flag_type() == "string enum":
            value = draw.choice(flags[flag].parser.enum_values)
        else:
            value = draw.choice(NUMBERS[flags[flag].flag_type()])
        arguments.append(f"--{flag}={value}")
    if name == "report" or draw.random() < 0.05:
        arguments += [str(draw.choice(places)) for _ in range(draw.randrange(3))]
    return arguments


def refused_in_one_line(finished, arguments):
    shown = (finished.status, finished.stderr[-2000:], arguments)
    assert finished.status == 2, shown
    assert "Traceback" not in finished.stderr, shown
    lines = finished.stderr.strip().splitlines()
    # What is going to be done comes before the images are opened.
    assert len([line for line in lines if not line.startswith("Pretraining on ")]) == 1, shown


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 100), pytest.param(1, 1000, marks=pytest.mark.slow)]
)
def test_wrong_lines_are_refused_in_one_line(command, places, tmp_path, monkeypatch, seed, count):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(seed)
    for _ in range(count):
        name = draw.choice(list(COMMANDS))
        arguments = random_line(draw, name, places)
        refused_in_one_line(command(name, *arguments), [name, *arguments])


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 100), pytest.param(1, 1000, marks=pytest.mark.slow)]
)
def test_lines_without_data_are_refused_in_one_line(
    command, places, tmp_path, monkeypatch, seed, count
):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(seed)
    for _ in range(count):  # `launch` takes a command, and would start it
        name = draw.choice([name for name in COMMANDS if name != "launch"])
        arguments = line_without_data(draw, name, places)
        refused_in_one_line(command(name, *arguments), [name, *arguments])
