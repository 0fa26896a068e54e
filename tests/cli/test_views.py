"""`keras-bt views`."""

import numpy as np
import pytest
from PIL import Image


@pytest.mark.slow
def test_views_draws_own_images_and_their_views(tmp_path, rng, command):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = rng.integers(0, 256, (40, 30, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    flags = (f"--image_dir={tmp_path}/photos", "--image_size=32", "--rows=2", "--pairs=2")
    finished = command("views", *flags, f"--out={tmp_path}/views.png")
    assert finished.stdout.strip() == f"{tmp_path}/views.png", finished.stderr
    with Image.open(tmp_path / "views.png") as picture:
        assert picture.size == (5 * 96 + 8 * 4, 22 + 2 * 96 + 4)
        columns = np.asarray(picture)[22:118]
    assert (columns[:, :96] != columns[:, 108:204]).any()  # the image, and a view of it
    refusal = command("views", *flags, f"--out={tmp_path}/views.jpg").refusal
    assert refusal == f"keras-bt views: --out must end in .png, got {tmp_path}/views.jpg."
