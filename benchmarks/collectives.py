"""What the two forms of the loss send between replicas, and how long they take.

    python benchmarks/collectives.py > results/collectives.jsonl

Replicas are processes on this machine, one thread each, which talk over its loopback device;
bytes are what that device counts. Three minutes on two cores. A JSON line for each form, batch,
width and number of replicas; for RESULTS.md then `python benchmarks/report.py`.
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
    """Bytes a replica sends in a step; see `functional.costs.gram_is_cheaper`."""
    return 8 * (replicas - 1) / replicas * dim * (dim if form == "matrix" else batch)


def bytes_over_loopback():
    """What this machine has sent to itself since it started."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split()[9])
    raise OSError("/proc/net/dev lists no loopback device.")


def measure(strategy, form, batch, dim):
    """Times loss and gradient; all workers run this together."""
    rows = batch // strategy.num_replicas_in_sync
    loss = keras_bt.BarlowTwinsLoss(form=form)
    seed = 2 * workers._worker_index(strategy)
    embeddings = [tf.random.stateless_normal([rows, dim], [0, seed + view]) for view in (0, 1)]

    @tf.function
    def step():
        def of_replica():
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                value = loss(*embeddings)
            return tape.gradient(value, embeddings)[0][0, 0]

        return strategy.run(of_replica)

    for _ in range(WARM_UP_STEPS):
        float(step())
    workers.gather_from_workers(strategy, "ready")
    before, seconds = bytes_over_loopback(), []
    for _ in range(STEPS):
        began = time.perf_counter()
        float(step())
        seconds.append(time.perf_counter() - began)
    sent = bytes_over_loopback() - before
    workers.gather_from_workers(strategy, "done")
    return {
        "milliseconds": round(1e3 * statistics.median(seconds), 1),
        "fastest": round(1e3 * min(seconds), 1),
        "slowest": round(1e3 * max(seconds), 1),
        "megabytes_sent": round(sent / STEPS / strategy.num_replicas_in_sync / 1e6, 2),
    }


def work():
    """A worker: measures all sizes; the chief prints."""
    strategy = keras_bt.strategy("multi_worker")
    replicas = strategy.num_replicas_in_sync
    for batch, dim in SIZES:
        for form in ("matrix", "gram"):
            figures = measure(strategy, form, batch, dim)
            row = {
                "benchmark": "collectives",
                "batch": batch,
                "dim": dim,
                "replicas": replicas,
                "form": form,
                "auto": cheaper_form(batch // replicas, dim, replicas) == form,
                **figures,
                "megabytes_by_formula": round(formula_bytes(form, batch, dim, replicas) / 1e6, 2),
                **ledger.circumstances(),
            }
            if workers.is_chief(strategy):
                print(json.dumps(row), flush=True)
    workers.leave_together(strategy)


def main():
    """Starts the workers, or is one."""
    if "TF_CONFIG" in os.environ:
        work()
        return
    for count in REPLICAS:
        if died := launch.run_once([sys.executable, __file__], count, grace_seconds=5.0):
            sys.exit(f"collectives: worker {died[0]} of {count} ended with status {died[1]}.")


if __name__ == "__main__":
    main()
