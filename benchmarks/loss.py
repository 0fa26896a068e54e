"""How long the loss and its gradient take, beside the official formula in PyTorch.

    python benchmarks/loss.py > results/loss.jsonl

Embeddings are given; what is timed is forward and backward. keras_bt chooses the form by itself
as its users get it, and then is made to take each of them, to see whether it chose well.
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
