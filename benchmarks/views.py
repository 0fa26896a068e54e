"""Time of the two views of a batch, with keras_bt and with other libraries.

    python benchmarks/views.py > results/views.jsonl

All use the same augmentations: bicubic crop of 8 to 100 % of the area, mirror, color jitter,
grayscale, blur (not at 32 pixels), and solarize in view B. keras-cv crops bilinearly without
antialiasing. PyTorch's libraries round to uint8 between operations if the images are uint8. The
batches are uint8 images in memory. Loaders compute ahead, on the same cores.
"""

from race import PEERS, Case, Contestant, main

KERAS_BT = (
    Contestant("keras_bt, compiled", "keras_bt_views", {"placement": "compiled"}),
    Contestant("keras_bt, data", "keras_bt_views", {"placement": "data"}),
    Contestant("keras_bt, step", "keras_bt_views", {"placement": "step"}),
)
PEER_CONTESTANTS = (
    Contestant("keras-cv, tf.data", "keras_cv_views"),
    Contestant("torchvision, PIL, 2 workers", "torchvision_views", {"form": "pil"}, PEERS),
    Contestant("torchvision, tensors, 2 workers", "torchvision_views", {"form": "tensor"}, PEERS),
    Contestant("kornia, a batch at once", "kornia_views", python=PEERS),
)
TORCHVISION = [peer.name for peer in PEER_CONTESTANTS if peer.file == "torchvision_views"]
ALL = [peer.name for peer in PEER_CONTESTANTS]
CASES = (
    Case(
        "32 px, batch 256, no blur",
        {"batch": 256, "load_size": 32, "size": 32, "blur": False},
        images=256,
        wanted={**dict.fromkeys(TORCHVISION, 12.0), "kornia, a batch at once": 2.5},
    ),
    Case(
        "96 px, batch 64",
        {"batch": 64, "load_size": 96, "size": 96, "blur": True},
        images=64,
        wanted=dict.fromkeys(ALL, 1.5),
    ),
    Case(
        "224 of 256 px, batch 32",
        {"batch": 32, "load_size": 256, "size": 224, "blur": True},
        images=32,
        wanted=dict.fromkeys(ALL, 1.2),
    ),
)

if __name__ == "__main__":
    main("views", CASES, KERAS_BT + PEER_CONTESTANTS, amount=1.0)
