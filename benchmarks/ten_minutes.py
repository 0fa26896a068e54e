"""Who has the better encoder of CIFAR-10 after ten minutes on this machine: keras_bt or lightly?

    python benchmarks/ten_minutes.py --seeds=0,1,2 > results/ten_minutes.jsonl
    python benchmarks/ten_minutes.py --validation --only=keras_bt -- --learning_rate=0.1

keras_bt is `examples/pretrain.py --recipe=cifar10` with the flags after `--`; lightly is
contestants/lightly_pretrain.py, with the settings of its own benchmark on CIFAR-10. Both train a
ResNet-18 of the same width, one after the other, and are scored by the same code. A JSON line
for each seed and contestant, after about thirty minutes for both; for RESULTS.md then
`python benchmarks/report.py`. Settings are chosen with --validation, never on the test images.
"""

import argparse
import concurrent.futures
import importlib.metadata
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from end_to_end import as_arrays
from race import CONTESTANTS, ENVIRONMENT, PEERS

PRETRAIN = Path(__file__).parents[1] / "examples" / "pretrain.py"
LIGHTLY = CONTESTANTS / "lightly_pretrain.py"
CLOCK = (
    "trained from its start to its last step, with what is compiled, saved and looked at on the "
    "way; start of the process, reading the images, measuring the speed and scoring do not count"
)
SCORES = (
    "k-NN cosine k=200 T=0.1 among all training images; logistic regression on at most 10,000 "
    "of them"
)


def keras_bt(flags, seed, folder):
    """A run of keras_bt, which scores its encoder itself."""
    result = run(
        [
            sys.executable,
            PRETRAIN,
            "--recipe=cifar10",
            f"--minutes={flags.minutes}",
            f"--width={flags.width}",
            f"--seed={seed}",
            f"--workdir={folder}/keras_bt-{seed}",
            *([f"--data_dir={flags.data_dir}"] if flags.data_dir else []),
            *(["--validation"] if flags.validation else []),
            *flags.pretrain_flags,
        ]
    )
    return {
        **result,
        **result["trained"],
        "epochs": result["steps"] * result["batch_size"] / result["images"],
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
    }


def lightly(flags, seed, folder):
    """A run of lightly, whose representations are scored here."""
    representations = f"{folder}/lightly-{seed}.npz"
    result = run(
        [
            PEERS,
            LIGHTLY,
            f"--images={folder}",
            f"--representations={representations}",
            f"--minutes={flags.minutes}",
            f"--width={flags.width}",
            f"--seed={seed}",
        ]
    )
    return {**result, **in_new_process(score, folder, representations)}


def run(command):
    """The last line that a script prints, which is JSON."""
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def in_new_process(function, *arguments):
    """What a function returns; TensorFlow, which it imports, ends with its process."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        return executor.submit(function, *arguments).result()


def score(folder, representations):
    """The figures of `keras_bt.evaluation.score`, of representations in a file."""
    from keras_bt import evaluation
    from keras_bt.evaluation.scores import PROBE_IMAGES

    with np.load(representations) as file:
        train, test = file["train"], file["test"]
    train_labels, test_labels = (
        np.load(f"{folder}/{name}_labels.npy") for name in ("train", "test")
    )
    labelled = train, train_labels, test, test_labels
    return evaluation.score_representations(*labelled, probe_images=PROBE_IMAGES)


def save_images(folder, data_dir, validation):
    """CIFAR-10's images and labels as arrays, those of the training and those to score on."""
    from keras_bt.data import from_tfds

    source = from_tfds("cifar10", data_dir)
    if validation:
        source = source.for_validation()
    for name, images in zip(("train", "test"), source.for_evaluation(), strict=True):
        arrays = as_arrays(images)
        np.save(f"{folder}/{name}.npy", arrays["image"])
        np.save(f"{folder}/{name}_labels.npy", arrays["label"])


def row_of(contestant, flags, seed, figures):
    """A row of results."""
    from keras_bt import ledger  # imports TensorFlow, when all have done their work

    scored_on = "every tenth training image, not trained on" if flags.validation else "test images"
    return {
        "benchmark": "ten_minutes",
        "contestant": contestant,
        "seed": seed,
        "minutes": flags.minutes,
        "width": flags.width,
        "batch_size": figures["batch_size"],
        "epochs": round(figures["epochs"], 3),
        "images_seen": figures["steps"] * figures["batch_size"],
        "seconds": figures["seconds"],
        "images_per_second": figures["images_per_second"],
        "knn_accuracy": figures["knn_accuracy"],
        "linear_accuracy": figures["linear_accuracy"],
        "protocol": f"{CLOCK}; {scored_on}; {SCORES}",
        "settings": figures.get("settings"),  # keras_bt's are the recipe's and in the command
        "versions": figures["versions"],
        **ledger.circumstances(),
        "command": command_of(contestant, flags, seed),
    }


def command_of(contestant, flags, seed):
    """What repeats a row, wherever the images are."""
    command = ["python", "benchmarks/ten_minutes.py", f"--minutes={flags.minutes:g}"]
    command += [f"--width={flags.width}", f"--seeds={seed}", f"--only={contestant}"]
    command += ["--validation"] if flags.validation else []
    if contestant == "keras_bt" and flags.pretrain_flags:
        command += ["--", *flags.pretrain_flags]
    return shlex.join(command)


def seeds(text):
    """Numbers with commas between."""
    return [int(seed) for seed in text.split(",")]


def main():
    """Lets the contestants train, in another order for each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=seeds, default=[0], help="with commas between")
    parser.add_argument("--width", type=int, default=16, help="of the ResNet-18")
    parser.add_argument("--data_dir", help="folder of TensorFlow Datasets, if another than its own")
    parser.add_argument("--only", choices=["keras_bt", "lightly"])
    parser.add_argument(
        "--validation", action="store_true", help="score on training images that are left out"
    )
    parser.add_argument(
        "pretrain_flags", nargs="*", help="after --: further flags of examples/pretrain.py"
    )
    flags = parser.parse_args()
    contestants = [keras_bt, lightly]
    if flags.only:
        contestants = [one for one in contestants if one.__name__ == flags.only]
    if lightly in contestants and not Path(PEERS).exists():
        parser.error(f"lightly needs {PEERS}, which is not there; make bench-setup")
    with tempfile.TemporaryDirectory() as folder:
        if lightly in contestants:
            in_new_process(save_images, folder, flags.data_dir, flags.validation)
        for seed in flags.seeds:
            for contestant in contestants:
                print(f"{contestant.__name__}, seed {seed} ...", file=sys.stderr, flush=True)
                row = row_of(contestant.__name__, flags, seed, contestant(flags, seed, folder))
                print(json.dumps(row), flush=True)
            contestants.reverse()


if __name__ == "__main__":
    main()
