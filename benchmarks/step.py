"""Time of a training step without views, beside the same network in PyTorch.

    python benchmarks/step.py > results/step.jsonl

Trains a ResNet-18 for images of 32 pixels and a projector of three layers on a fixed pair of
batches. keras_bt runs the whole step as `fit` does in a recipe, with LARS and the check for
non-finite values. "encoder and projector" is the forward and backward of these two alone, with a
sum in place of the loss. The difference is the cost of everything else.
"""

from race import PEERS, Case, Contestant, main

CONTESTANTS = (
    Contestant("keras_bt, LARS", "keras_bt_step"),
    Contestant("keras_bt, LARS, XLA", "keras_bt_step", {"jit_compile": True}),
    Contestant("keras_bt, encoder and projector", "keras_bt_step", {"whole": False}),
    Contestant("PyTorch, SGD, channels last", "pytorch_step", python=PEERS),
    Contestant("PyTorch, SGD, compiled", "pytorch_step", {"compiled": True}, PEERS),
    Contestant("keras_bt, LARS, bfloat16", "keras_bt_step", {"precision": "mixed_bfloat16"}),
    Contestant("PyTorch, SGD, bfloat16", "pytorch_step", {"bfloat16": True}, PEERS),
)
CASES = [
    Case(
        f"width {width}, batch {batch}",
        {"width": width, "batch": batch, "dims": (2048, 2048, 2048)},
        images=batch,
        wanted={"PyTorch, SGD, channels last": wanted},
    )
    for width, batch, wanted in ((16, 256, 1.5), (64, 64, 1.3))
]

if __name__ == "__main__":
    main("step", CASES, CONTESTANTS, amount=5.0)
