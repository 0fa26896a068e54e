"""What a few minutes of `keras-bt pretrain` at its defaults give on images of several kinds.

    python benchmarks/minutes.py --photographs=FOLDER --seeds=0,1,2 >> results/minutes.jsonl

Each run has one core to itself, and as many run at a time as there are cores. The case "100
photographs" takes ten of each class in FOLDER. Prints a JSON line for each case and seed, with the
time from the command to its end; a warning in it is one of the run. `python benchmarks/report.py`
then updates RESULTS.md.
"""

import argparse
import concurrent.futures
import json
import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from race import ENVIRONMENT
from ten_minutes import PRETRAIN, in_new_process, seeds

CASES = {  # flags of a case; {folder} has the images that are written for it
    "CIFAR-10, 2,000 images": "--image_dir={folder}/cifar10",
    "CIFAR-10, 2,000 images enlarged to 96 pixels": "--image_dir={folder}/enlarged",
    "CIFAR-10, 50,000 images": "--dataset=cifar10",
    "Fashion-MNIST": "--dataset=fashion_mnist",
    "digits": "--recipe=digits",
    "100 photographs": "--image_dir={folder}/photographs",
}
SMALL, ENLARGED, PER_CLASS = 2000, 96, 10
SCORES = ("knn_accuracy", "linear_accuracy")


def save_cifar10(folder, data_dir):
    """Writes the first images of CIFAR-10 as files, as they are and enlarged."""
    import tensorflow_datasets as tfds
    from PIL import Image

    for split in ("train", "test"):
        examples = tfds.load("cifar10", split=split, data_dir=data_dir).take(SMALL)
        for number, example in enumerate(examples.as_numpy_iterator()):
            image, name = Image.fromarray(example["image"]), f"class_{example['label']}"
            enlarged = image.resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)
            for case, pixels in (("cifar10", image), ("enlarged", enlarged)):
                file = Path(folder, case, split, name, f"{number:05}.png")
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels.save(file)


def copy_photographs(folder, photographs):
    """Copies the first photographs of each class."""
    for name in sorted(Path(photographs).iterdir()):
        target = Path(folder, "photographs", name.name)
        target.mkdir(parents=True)
        for file in sorted(name.iterdir())[:PER_CLASS]:
            shutil.copy(file, target)


def measure(case, seed, flags, folder, cores):
    """Returns a row: a run on a core that no other has."""
    from keras_bt.run import ledger

    core = cores.get()
    os.sched_setaffinity(0, {core})  # of this thread, and of the process that it starts
    places = [f"--data_dir={flags.data_dir}"] if flags.data_dir else []
    given = [CASES[case], f"--minutes={flags.minutes:g}", f"--seed={seed}"]
    command = [*PRETRAIN, *(text.format(folder=folder) for text in given), *places]
    workdir = f"{folder}/runs/{list(CASES).index(case)}-{seed}"
    start = time.monotonic()
    done = subprocess.run(
        [*command, f"--workdir={workdir}", *flags.pretrain_flags],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"},
    )
    seconds = time.monotonic() - start
    cores.put(core)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr.splitlines()[-1]}")
    result = json.loads(done.stdout.splitlines()[-1])
    settings = json.loads(Path(workdir, "run.json").read_text("utf-8"))["settings"]
    lines = done.stderr.replace(f"{folder}/", "").splitlines()
    return {
        "benchmark": "minutes",
        "case": case,
        "seed": seed,
        "minutes": flags.minutes,
        "cores": 1,
        "total_seconds": round(seconds, 1),
        "training_seconds": result["seconds"],
        "images": result["images"],
        "steps": result["steps"],
        "settings": {name: settings[name] for name in ("encoder", "width", "image_size")},
        **{
            name: {score: result[name][score] for score in SCORES}
            for name in ("trained", "untrained", "pixels")
        },
        "advantage": result["advantage"],
        "warnings": [line for line in lines if line.startswith("Warning:")],
        **ledger.circumstances(),
        "command": command_of(case, seed, flags),
    }


def command_of(case, seed, flags):
    """Returns the command that repeats a row, without folders."""
    command = ["python", "benchmarks/minutes.py", f"--case={case}", f"--seeds={seed}"]
    command += [f"--minutes={flags.minutes:g}"]
    command += ["--", *flags.pretrain_flags] if flags.pretrain_flags else []
    return shlex.join(command)


def main():
    """Reads the flags, and runs all cases with each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--case", default="", help="only this case, or those with this in their name"
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=seeds, default=[0], help="comma-separated")
    parser.add_argument("--data_dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--photographs", help="folder of class folders")
    parser.add_argument("pretrain_flags", nargs="*", help="after --: more flags of each run")
    flags = parser.parse_args()
    chosen = [flags.case] if flags.case in CASES else [name for name in CASES if flags.case in name]
    if not flags.photographs:
        chosen = [case for case in chosen if "photographs" not in case]
    if not chosen:
        parser.error(
            f"--case={flags.case} is no case, or needs --photographs; there are {[*CASES]}"
        )
    cores = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with tempfile.TemporaryDirectory() as folder:
        if any(name in CASES[case] for case in chosen for name in ("/cifar10", "/enlarged")):
            in_new_process(save_cifar10, folder, flags.data_dir)
        if flags.photographs:
            copy_photographs(folder, flags.photographs)
        with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
            runs = [
                pool.submit(measure, case, seed, flags, folder, cores)
                for seed in flags.seeds
                for case in chosen
            ]
            for count, run in enumerate(concurrent.futures.as_completed(runs), start=1):
                print(json.dumps(run.result()), flush=True)
                print(f"{count} of {len(runs)} runs ended", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
