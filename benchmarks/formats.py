"""Size and speed of an exported encoder in each format.

    python benchmarks/formats.py > results/formats.jsonl

Exports a ResNet-50 for 224 pixels and a ResNet-18 of width 16 for 32 pixels, with random weights.
For each format it measures the size, the seconds to export (with checks) and to load, and the
milliseconds per batch in its own runtime on all cores. Formats take turns, each in a new process.
"""

import concurrent.futures
import importlib.metadata
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `import keras_bt` does

import onnxruntime
import tensorflow as tf
from ai_edge_litert import interpreter

ROUNDS, CALLS, BATCHES = 3, 5, (1, 32)
ENCODERS = {
    "ResNet-18, width 16, 32 px": ("resnet18", 32, {"width": 16, "stem": "small"}),
    "ResNet-50, 224 px": ("resnet50", 224, {}),
}
FORMATS = {
    "SavedModel": "encoder",
    "ONNX": "encoder.onnx",
    "LiteRT": "encoder.tflite",
    "LiteRT, int8": "encoder_int8.tflite",
}
RUNTIMES = "tensorflow", "onnxruntime", "ai-edge-litert"


def build(name, side, options):
    """Returns an untrained encoder whose features depend on every weight."""
    import keras

    import keras_bt

    encoder = getattr(keras_bt, name)((side, side, 3), **options)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(0.9 + 0 * layer.gamma)
    return encoder


def export(encoder_args, kind, path):
    """Exports an encoder and returns the seconds it took."""
    import keras_bt

    encoder = build(*encoder_args)
    started = time.perf_counter()
    if kind == "SavedModel":
        keras_bt.export_encoder(encoder, path)
    elif kind == "ONNX":
        keras_bt.export_onnx(encoder, path)
    else:
        keras_bt.export_litert(encoder, path, int8=kind != "LiteRT")
    return time.perf_counter() - started


def load(kind, path):
    """Returns a function from images to features in the format's own runtime."""
    if kind == "SavedModel":
        module = tf.saved_model.load(path)
        signature = module.signatures["serving_default"]
        return lambda images: signature(inputs=tf.constant(images))["features"].numpy()
    if kind == "ONNX":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda images: session.run(["features"], {"inputs": images})[0]
    runner = interpreter.Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return lambda images: runner(inputs=images)["features"]


def measure(kind, path, side):
    """Returns the seconds to load an encoder, and the seconds per call for each batch size."""
    started = time.perf_counter()
    run = load(kind, path)
    load_seconds = time.perf_counter() - started
    random = np.random.default_rng(0)
    seconds = {}
    for batch in BATCHES:
        images = random.uniform(size=(batch, side, side, 3)).astype("float32")
        run(images)
        calls = []
        for _ in range(CALLS):
            started = time.perf_counter()
            run(images)
            calls.append(time.perf_counter() - started)
        seconds[batch] = statistics.median(calls)
    return load_seconds, seconds


def in_new_process(function, *arguments):
    """Returns the result of a function; the modules it imports end with the process."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        return executor.submit(function, *arguments).result()


def size_of(path):
    """Returns the bytes of a file, or of all files in a folder."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def main():
    """Prints a row for each encoder and format."""
    from keras_bt.run import ledger

    versions = {name: importlib.metadata.version(name) for name in RUNTIMES}
    for encoder, arguments in ENCODERS.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = {kind: f"{folder}/{name}" for kind, name in FORMATS.items()}
            exports = {k: in_new_process(export, arguments, k, path) for k, path in paths.items()}
            rounds = [
                {k: in_new_process(measure, k, path, arguments[1]) for k, path in paths.items()}
                for _ in range(ROUNDS)
            ]
            for kind, path in paths.items():
                loads, calls = zip(*(found[kind] for found in rounds), strict=True)
                row = {
                    "benchmark": "formats",
                    "encoder": encoder,
                    "format": kind,
                    "megabytes": round(size_of(path) / 1e6, 2),
                    "export_seconds": round(exports[kind], 1),
                    "load_seconds": round(statistics.median(loads), 2),
                    "milliseconds": {
                        batch: round(1e3 * statistics.median(call[batch] for call in calls), 2)
                        for batch in BATCHES
                    },
                    "versions": versions,
                    **ledger.circumstances(),
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
