"""Bytes and time that the two forms of the loss need between replicas.

    python benchmarks/collectives.py > results/collectives.jsonl

Replicas are processes of one thread each on this machine. They communicate over its loopback
device, which counts the bytes. Prints a JSON line for each form, batch, width and number of
replicas, in three minutes on two cores. `python benchmarks/report.py` then updates RESULTS.md.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import keras_bt
from keras_bt.distribution import launch, workers
from keras_bt.functional.costs import cheaper_form
from keras_bt.run import ledger

SIZES = ((256, 8192), (1024, 8192), (1024, 2048), (2048, 2048), (2048, 512))  # batch, dim
REPLICAS = (2, 4)
WARM_UP_STEPS, STEPS = 2, 7


def formula_bytes(form, batch, dim, replicas):
    """Returns the bytes that a replica sends per step; see `functional.costs.gram_is_cheaper`."""
    return 8 * (replicas - 1) / replicas * dim * (dim if form == "matrix" else batch)


def bytes_over_loopback():
    """Returns the bytes that the loopback device has sent since the machine started."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split()[9])
    raise OSError("/proc/net/dev lists no loopback device.")


def measure(strategy, form, batch, dim):
    """Returns time and bytes of loss and gradient; all workers run this together."""
    rows = batch // strategy.num_replicas_in_sync
    loss = keras_bt.BarlowTwinsLoss(form=form)
    seed = 2 * workers.worker_index(strategy)
    embeddings = [tf.random.stateless_normal([rows, dim], [0, seed + view]) for view in (0, 1)]

    @tf.function
    def step():
        def replica_step():
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                value = loss(*embeddings)
            return tape.gradient(value, embeddings)[0][0, 0]

        return strategy.run(replica_step)

    for _ in range(WARM_UP_STEPS):
        float(step())
    workers.gather_from_workers(strategy, "ready")
    bytes_before, seconds = bytes_over_loopback(), []
    for _ in range(STEPS):
        start = time.perf_counter()
        float(step())
        seconds.append(time.perf_counter() - start)
    sent = bytes_over_loopback() - bytes_before
    workers.gather_from_workers(strategy, "done")
    return {
        "milliseconds": round(1e3 * statistics.median(seconds), 1),
        "fastest": round(1e3 * min(seconds), 1),
        "slowest": round(1e3 * max(seconds), 1),
        "megabytes_sent": round(sent / STEPS / strategy.num_replicas_in_sync / 1e6, 2),
    }


def work():
    """Measures all sizes as one of the workers; the chief prints the rows."""
    strategy = keras_bt.strategy("multi_worker")
    replicas = strategy.num_replicas_in_sync
    for batch, dim in SIZES:
        for form in ("matrix", "gram"):
            metrics = measure(strategy, form, batch, dim)
            row = {
                "benchmark": "collectives",
                "batch": batch,
                "dim": dim,
                "replicas": replicas,
                "form": form,
                "auto": cheaper_form(batch // replicas, dim, replicas) == form,
                **metrics,
                "megabytes_by_formula": round(formula_bytes(form, batch, dim, replicas) / 1e6, 2),
                **ledger.circumstances(),
            }
            if workers.is_chief(strategy):
                print(json.dumps(row), flush=True)
    workers.leave_together(strategy)


def main():
    """Starts the workers; in a worker process, runs the worker."""
    if "TF_CONFIG" in os.environ:
        work()
        return
    for count in REPLICAS:
        if failed := launch.run_once([sys.executable, __file__], count, grace_seconds=5.0):
            sys.exit(f"collectives: worker {failed[0]} of {count} ended with status {failed[1]}.")


if __name__ == "__main__":
    main()
