"""Time that a process needs to import keras_bt, and to train a first step.

    python benchmarks/startup.py > results/startup.jsonl

Every measurement uses a new process. All files are in the disk cache.
"""

from race import Case, Contestant, main

FIRST_STEP = """
import tensorflow as tf
from keras_bt import data
from keras_bt.config.named import recipes
from keras_bt.run import Pretraining
tiny = recipes["digits"].override(width=4, projector_dims=(64, 64))
training = Pretraining(tiny, data.digits(), tf.distribute.get_strategy())
training.model.fit(training.batches(), steps_per_epoch=1, verbose=0)
"""
PLAIN = "import tensorflow, keras"
PROGRAMS = {
    "tensorflow and keras": PLAIN,
    "and keras_bt": f"{PLAIN}, keras_bt",
    "and the classes of a training": f"{PLAIN}, keras_bt\n"
    "keras_bt.BarlowTwins, keras_bt.paper_views, keras_bt.LARS, keras_bt.resnet18",
    "and a first training step on digits": FIRST_STEP,
}
CONTESTANTS = [
    Contestant(name, "startup_process", {"code": code}) for name, code in PROGRAMS.items()
]

if __name__ == "__main__":
    main("startup", [Case("new process", {})], CONTESTANTS, amount=0.0)
