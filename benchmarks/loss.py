"""Time of the loss and its gradient, beside the official formula in PyTorch.

    python benchmarks/loss.py > results/loss.jsonl

Measures forward and backward for fixed embeddings. The first contestant is keras_bt as its users
run it, which chooses the form of the loss by itself. Two others force each form, to check the
choice.
"""

from race import PEERS, Case, Contestant, main

CONTESTANTS = (
    Contestant("keras_bt", "keras_bt_loss"),
    Contestant("keras_bt, XLA", "keras_bt_loss", {"jit_compile": True}),
    Contestant("keras_bt, Gram form", "keras_bt_loss", {"form": "gram"}),
    Contestant("keras_bt, matrix form", "keras_bt_loss", {"form": "matrix"}),
    Contestant("PyTorch, official formula", "pytorch_loss", python=PEERS),
)
SIZES = {(256, 8192): 35.0, (1024, 8192): 6.0, (2048, 2048): 1.0, (1024, 1024): 1.0}
CASES = [
    Case(
        f"batch {batch}, dim {dim}",
        {"batch": batch, "dim": dim},
        wanted={"PyTorch, official formula": wanted},
    )
    for (batch, dim), wanted in SIZES.items()
]

if __name__ == "__main__":
    main("loss", CASES, CONTESTANTS)
