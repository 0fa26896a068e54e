"""Images to distort."""

from pathlib import Path

import numpy as np


def smooth_images(count, size):
    """uint8 [count, size, size, 3], smooth as photos are, the same at each call."""
    draws = np.random.default_rng(0)
    waves = draws.uniform(0.5, 4.0, (count, 2, 3)), draws.uniform(0, 6.3, (count, 2, 3))
    place = np.linspace(0.0, 1.0, size)[:, None]
    rows, columns = (
        np.sin(6.3 * f[:, None] * place + p[:, None])
        for f, p in zip(*(np.moveaxis(wave, 1, 0) for wave in waves), strict=True)
    )
    images = 127.5 + 60.0 * (rows[:, :, None] + columns[:, None])
    return np.uint8(np.clip(images, 0, 255))


def images_of(path):
    """The images of a .npy file."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no {Path(path).stem}; see --data_dir and `tfds build`.")
    return np.load(path)
