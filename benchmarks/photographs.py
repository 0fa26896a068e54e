"""Compares the encoders of keras_bt and LightlyTrain after minutes of training on photographs.

    python benchmarks/photographs.py --image_dir=clothing --image_size=64 --seeds=0,1,2 \\
        >> results/photographs.jsonl
    python benchmarks/photographs.py --image_dir=clothing --only=keras_bt -- --encoder=conv4

The folder has the training images in `train`, and held-out images in `test` or `validation`, in
class folders. keras_bt runs `keras-bt pretrain` with the flags after `--`. LightlyTrain trains with
its defaults: SimCLR and torchvision's ResNet-18. They take turns, and the same code scores both on
the same images. Prints a JSON line for each seed and contestant. `python benchmarks/report.py` then
updates RESULTS.md.
"""

import argparse
import importlib.metadata
import shlex
import tempfile
from pathlib import Path

import numpy as np
from end_to_end import as_arrays
from race import CONTESTANTS, PEERS
from ten_minutes import PRETRAIN, in_new_process, run, score, seeds, take_turns

LIGHTLY_TRAIN = [PEERS, CONTESTANTS / "lightly_train_pretrain.py"]
PROTOCOL = (
    "k-NN: cosine, k 200, temperature 0.1, among all training images; linear: logistic regression "
    "on at most 10,000 of them; both on the held-out images. keras_bt: {minutes:g} minutes from "
    "the command to its result, with reading, baselines, scores and report; LightlyTrain: as many "
    "epochs of training as fit into them"
)


def keras_bt(flags, seed, folder):
    """Returns the result of a run of keras_bt, which scores its encoder itself."""
    result = run(
        [
            *PRETRAIN,
            f"--image_dir={flags.image_dir}",
            f"--image_size={flags.image_size}",
            f"--minutes={flags.minutes}",
            f"--seed={seed}",
            f"--workdir={folder}/keras_bt-{seed}",
            *flags.pretrain_flags,
        ]
    )
    baselines = {name: result[name] for name in ("untrained", "pixels")}
    epochs = result["steps"] * result["batch_size"] / result["images"]
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}
    more = {"baselines": baselines, "epochs": epochs, "versions": versions}
    return {**result, **result["trained"], **more}


def lightly_train(flags, seed, folder):
    """Returns the result of a run of LightlyTrain, with scores of the features it writes."""
    features = f"{folder}/lightly_train-{seed}.npz"
    result = run(
        [
            *LIGHTLY_TRAIN,
            f"--image_dir={flags.train_dir}",
            f"--image_size={flags.image_size}",
            f"--minutes={flags.minutes}",
            f"--seed={seed}",
            f"--images={folder}",
            f"--features={features}",
            *([f"--epochs={flags.epochs}"] if flags.epochs else []),
        ]
    )
    flags.epochs = result["epochs"]  # of later seeds too: the speed is measured once
    return {**result, **in_new_process(score, folder, features)}


def save_images(folder, image_dir, image_size):
    """Saves images and labels as arrays to score on.

    Returns:
        The folder of the training images, and the number of held-out images.
    """
    from keras_bt.data import from_folder
    from keras_bt.data.layout import find_sets

    sets = find_sets(Path(image_dir))
    if sets.test is None:
        raise SystemExit(f"photographs: {image_dir} needs folders train and test of classes.")
    source = from_folder(image_dir)
    for name, images in zip(("train", "test"), source.for_evaluation(), strict=True):
        arrays = as_arrays(images, image_size)
        np.save(f"{folder}/{name}.npy", arrays["image"])
        np.save(f"{folder}/{name}_labels.npy", arrays["label"])
    return str(sets.train), len(np.load(f"{folder}/test_labels.npy"))


def row_of(contestant, flags, seed, result):
    """Returns a row of results."""
    from keras_bt.run import ledger  # imports TensorFlow, which must not run while measuring

    command = ["python", "benchmarks/photographs.py", f"--image_dir={Path(flags.image_dir).name}"]
    command += [f"--image_size={flags.image_size}", f"--minutes={flags.minutes:g}"]
    command += [f"--seeds={seed}", f"--only={contestant}"]
    command += [f"--epochs={result['epochs']}"] if contestant == "lightly_train" else []
    if contestant == "keras_bt" and flags.pretrain_flags:
        command += ["--", *flags.pretrain_flags]
    kept = ("batch_size", "steps", "seconds", "images_per_second", "knn_accuracy")
    return {
        "benchmark": "photographs",
        "contestant": contestant,
        "images": Path(flags.image_dir).name,
        "image_size": flags.image_size,
        "minutes": flags.minutes,
        "seed": seed,
        **{name: result[name] for name in (*kept, "linear_accuracy")},
        "epochs": round(result["epochs"], 1),
        "test_images": flags.test_count,
        "baselines": result.get("baselines"),
        "settings": result.get("settings"),
        "versions": result["versions"],
        "protocol": PROTOCOL.format(minutes=flags.minutes),
        **ledger.circumstances(),
        "command": shlex.join(command),
    }


def main():
    """Reads the flags, and trains both contestants with each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--image_dir", required=True)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=seeds, default=[0], help="comma-separated")
    parser.add_argument("--only", choices=["keras_bt", "lightly_train"])
    parser.add_argument("--epochs", type=int, help="of LightlyTrain, instead of measuring")
    parser.add_argument(
        "pretrain_flags", nargs="*", help="after --: more flags of `keras-bt pretrain`"
    )
    flags = parser.parse_args()
    contestants = [keras_bt, lightly_train]
    if flags.only:
        contestants = [one for one in contestants if one.__name__ == flags.only]
    if lightly_train in contestants and not Path(PEERS).exists():
        parser.error(f"LightlyTrain needs {PEERS}, which does not exist; run `make bench-setup`")
    with tempfile.TemporaryDirectory() as folder:
        flags.train_dir, flags.test_count = in_new_process(
            save_images, folder, flags.image_dir, flags.image_size
        )
        take_turns(contestants, flags, folder, row_of)


if __name__ == "__main__":
    main()
