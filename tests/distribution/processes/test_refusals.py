"""Errors for wrong input under several replicas, before training."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MESSAGES = {
    "jit": "jit_compile=True needs a single replica, got 4",
    "outside the scope": "was made outside the strategy's scope; make encoder, projector",
    "accumulated": "gradient_accumulation_steps needs a single replica",
    "central storage": "CentralStorageStrategy.* does not keep its replicas in step",
    "not synchronized": "2 batch normalization layers, .* take their statistics on each replica",
    "indivisible": "must be divisible by the replicas, got 6 images for 4 replicas",
    "fewer images than replicas": "at least 2 images, got a batch of 1",
    "a replica without images": "A replica has no images: .* Of 13 images, batch_size 8",
    "a replica without images, of a dataset": "A replica has no images: drop the short last batch",
    "monitored": r"^4 steps, the first loss [1-9]",
}


@pytest.fixture(scope="module")
def messages(start):
    done = start(Path(__file__).parent / "refusals.py")
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("situation", MESSAGES)
def test_message_names_the_error(messages, situation):
    assert re.search(MESSAGES[situation], messages[situation]), messages[situation]
