"""Compares the encoders of keras_bt and lightly after ten minutes of CIFAR-10 on this machine.

    python benchmarks/ten_minutes.py --seeds=0,1,2 > results/ten_minutes.jsonl
    python benchmarks/ten_minutes.py --validation --only=keras_bt -- --learning_rate=0.1

keras_bt runs `keras-bt pretrain --recipe=cifar10` with the flags after `--`; it chooses its network
unless --width is given. lightly runs contestants/lightly_pretrain.py, a ResNet-18 with the settings
of its own benchmark on CIFAR-10. One trains after the other, and the same code scores both. Prints
a JSON line for each seed and contestant; a seed takes about thirty minutes. `python
benchmarks/report.py` then updates RESULTS.md. Settings are chosen with --validation, never on the
test images.
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

PRETRAIN = [sys.executable, "-m", "keras_bt", "pretrain"]
LIGHTLY = [PEERS, CONTESTANTS / "lightly_pretrain.py"]
CLOCKS = {
    "keras_bt": "time from the command to its result, with reading, baselines, scores and report",
    "lightly": "time of the training, without reading the images, measuring the speed and scoring",
}
LIGHTLY_WIDTH = 16
SCORES = (
    "k-NN: cosine, k 200, temperature 0.1, among all training images; linear: logistic regression "
    "on at most 10,000 of them"
)


def keras_bt(flags, seed, folder):
    """Returns the result of a run of keras_bt, with scores of its exported encoder."""
    result = run(
        [
            *PRETRAIN,
            "--recipe=cifar10",
            f"--minutes={flags.minutes}",
            *([f"--width={flags.width}", "--encoder=resnet18"] if flags.width else []),
            f"--seed={seed}",
            f"--workdir={folder}/keras_bt-{seed}",
            *([f"--data_dir={flags.data_dir}"] if flags.data_dir else []),
            *(["--validation"] if flags.validation else []),
            *flags.pretrain_flags,
        ]
    )
    return {
        **result,
        **in_new_process(score_encoder, folder, result["encoder_dir"]),
        "seconds": result["total_seconds"],
        "epochs": result["steps"] * result["batch_size"] / result["images"],
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
    }


def lightly(flags, seed, folder):
    """Returns the result of a run of lightly, with scores of the features it writes."""
    features = f"{folder}/lightly-{seed}.npz"
    result = run(
        [
            *LIGHTLY,
            f"--images={folder}",
            f"--features={features}",
            f"--minutes={flags.minutes}",
            f"--width={flags.width or LIGHTLY_WIDTH}",
            f"--seed={seed}",
        ]
    )
    return {**result, **in_new_process(score, folder, features)}


def run(command):
    """Runs a command and returns the JSON in the last line that it prints."""
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def in_new_process(function, *arguments):
    """Returns the result of a function; the TensorFlow it imports ends with the process."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        return executor.submit(function, *arguments).result()


def score(folder, features):
    """Returns the accuracies of features in a file."""
    from keras_bt import evaluation
    from keras_bt.evaluation.scores import PROBE_IMAGES

    with np.load(features) as file:
        train, test = file["train"], file["test"]
    train_labels, test_labels = (
        np.load(f"{folder}/{name}_labels.npy") for name in ("train", "test")
    )
    labelled = train, train_labels, test, test_labels
    return evaluation.score_features(*labelled, probe_images=PROBE_IMAGES)


def score_encoder(folder, encoder_dir):
    """Returns the accuracies of an exported encoder on the arrays in a folder."""
    import tensorflow as tf

    encoder = tf.saved_model.load(encoder_dir)
    features = {
        name: np.concatenate(
            [
                encoder(part.astype("float32") / 255).numpy()
                for part in np.array_split(images, -(-len(images) // 500))
            ]
        )
        for name in ("train", "test")
        for images in [np.load(f"{folder}/{name}.npy")]
    }
    np.savez(f"{folder}/features.npz", **features)
    return score(folder, f"{folder}/features.npz")


def save_images(folder, data_dir, validation):
    """Saves images and labels of CIFAR-10 as arrays, to train and to score on."""
    from keras_bt.data import from_tfds

    source = from_tfds("cifar10", data_dir)
    if validation:
        source = source.for_validation()
    for name, images in zip(("train", "test"), source.for_evaluation(), strict=True):
        arrays = as_arrays(images)
        np.save(f"{folder}/{name}.npy", arrays["image"])
        np.save(f"{folder}/{name}_labels.npy", arrays["label"])


def row_of(contestant, flags, seed, result):
    """Returns a row of results."""
    from keras_bt.run import ledger  # imports TensorFlow, which must not run while measuring

    scored_on = "every tenth training image, not trained on" if flags.validation else "test images"
    return {
        "benchmark": "ten_minutes",
        "contestant": contestant,
        "seed": seed,
        "minutes": flags.minutes,
        "width": flags.width,
        "batch_size": result["batch_size"],
        "epochs": round(result["epochs"], 3),
        "images_seen": result["steps"] * result["batch_size"],
        "seconds": result["seconds"],
        "images_per_second": result["images_per_second"],
        "knn_accuracy": result["knn_accuracy"],
        "linear_accuracy": result["linear_accuracy"],
        "protocol": f"{CLOCKS[contestant]}; {scored_on}; {SCORES}",
        "settings": result.get("settings"),  # none from keras_bt: the command has them
        "versions": result["versions"],
        **ledger.circumstances(),
        "command": command_of(contestant, flags, seed),
    }


def command_of(contestant, flags, seed):
    """Returns the command that repeats a row, without the folder of the images."""
    command = ["python", "benchmarks/ten_minutes.py", f"--minutes={flags.minutes:g}"]
    command += [f"--width={flags.width}"] if flags.width else []
    command += [f"--seeds={seed}", f"--only={contestant}"]
    command += ["--validation"] if flags.validation else []
    if contestant == "keras_bt" and flags.pretrain_flags:
        command += ["--", *flags.pretrain_flags]
    return shlex.join(command)


def take_turns(contestants, flags, folder, row_of):
    """Trains the contestants with each seed, in alternating order, and prints a row for each."""
    for seed in flags.seeds:
        for contestant in contestants:
            print(f"{contestant.__name__}, seed {seed} ...", file=sys.stderr, flush=True)
            row = row_of(contestant.__name__, flags, seed, contestant(flags, seed, folder))
            print(json.dumps(row), flush=True)
        contestants = contestants[::-1]


def seeds(text):
    """Returns the numbers in a comma-separated list."""
    return [int(seed) for seed in text.split(",")]


def main():
    """Reads the flags, and trains both contestants with each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=seeds, default=[0], help="comma-separated")
    parser.add_argument(
        "--width", type=int, help="of a ResNet-18; else lightly has 16, and keras_bt chooses"
    )
    parser.add_argument("--data_dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--only", choices=["keras_bt", "lightly"])
    parser.add_argument(
        "--validation", action="store_true", help="score on held-out training images"
    )
    parser.add_argument(
        "pretrain_flags", nargs="*", help="after --: more flags of `keras-bt pretrain`"
    )
    flags = parser.parse_args()
    contestants = [keras_bt, lightly]
    if flags.only:
        contestants = [one for one in contestants if one.__name__ == flags.only]
    if lightly in contestants and not Path(PEERS).exists():
        parser.error(f"lightly needs {PEERS}, which does not exist; run `make bench-setup`")
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(save_images, folder, flags.data_dir, flags.validation)
        take_turns(contestants, flags, folder, row_of)


if __name__ == "__main__":
    main()
