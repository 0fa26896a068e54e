import json
import re
import sys

from keras_bt.run import ledger


def test_row_has_the_command_that_repeats_it(tmp_path, monkeypatch):
    places = ["--data_dir=/home/me/tfds", "--workdir=/tmp/run", f"--ledger={tmp_path}/ledger"]
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/examples/pretrain.py", "--recipe=digits", *places, "--epochs=2"]
    )
    file = tmp_path / "ledger"
    for seed in (0, 1):
        ledger.add_row(
            file, recipe="digits", seed=seed, minutes=1.234, protocol="k-NN", figures={"a": 0.5}
        )
    first, second = map(json.loads, file.read_text().splitlines())
    assert first["command"] == "python examples/pretrain.py --recipe=digits --epochs=2"
    assert (first["minutes"], first["protocol"], first["figures"]) == (1.23, "k-NN", {"a": 0.5})
    assert {**first, "seed": 1} == second
    assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?|version .*", first["commit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", first["date"])
    assert re.search(r", \d+ cores, ", first["machine"])


def test_a_command_line_keeps_only_flags_that_change_results():
    line = "keras-bt pretrain --data_dir=/data '--image_dir=my photos' --workdir=runs/a"
    row = ledger.circumstances(line)
    assert row["command"] == "keras-bt pretrain '--image_dir=my photos'"
