"""Peak memory of the loss in both forms, and of a step in one or several micro-batches.

    python benchmarks/memory.py > results/memory.jsonl

Measures by how much the first call, which includes tracing, raises the resident memory of a new
process.
"""

from race import Case, Contestant, main, weigh_steps

FORMS = (
    Contestant("Gram form", "keras_bt_loss", {"form": "gram"}),
    Contestant("matrix form", "keras_bt_loss", {"form": "matrix"}),
)
LOSS = Case("loss, batch 256, dim 8192", {"batch": 256, "dim": 8192}, wanted={"matrix form": 5.0})
MICRO_BATCHES = (
    Contestant("8 micro batches", "keras_bt_step", {"micro_batches": 8}),
    Contestant("1 micro batch", "keras_bt_step", {"micro_batches": 1}),
)
STEPS = [
    Case(
        f"step, width {width}, batch {batch}",
        {"width": width, "batch": batch, "dims": (2048, 2048, 2048)},
        wanted={"1 micro batch": 4.0},
    )
    for width, batch in ((16, 1024), (64, 512))
]

if __name__ == "__main__":
    for case, contestants in ((LOSS, FORMS), *((step, MICRO_BATCHES) for step in STEPS)):
        main("memory", [case], contestants, weigh_steps, rounds=3, amount=1, unit="MB")
