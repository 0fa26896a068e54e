"""Images for the contestants."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def smooth_images(count, size):
    """Returns images [count, size, size, 3], uint8, smooth like photos, the same at each call."""
    random = np.random.default_rng(0)
    waves = random.uniform(0.5, 4.0, (count, 2, 3)), random.uniform(0, 6.3, (count, 2, 3))
    position = np.linspace(0.0, 1.0, size)[:, None]
    rows, columns = (
        np.sin(6.3 * f[:, None] * position + p[:, None])
        for f, p in zip(*(np.moveaxis(wave, 1, 0) for wave in waves), strict=True)
    )
    images = 127.5 + 60.0 * (rows[:, :, None] + columns[:, None])
    return np.uint8(np.clip(images, 0, 255))


def write_jpegs(folder, height, width, count):
    """Writes JPEG files like photographs, and returns the mean of their sizes in megabytes.

    Only the first 64 are different from each other.
    """
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    encoded = []
    for image in smooth_images(min(count, 64), max(height, width)):
        pixels = np.uint8(np.clip(image[:height, :width] + noise, 0, 255))
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    for number in range(count):
        Path(folder, f"{number}.jpg").write_bytes(encoded[number % len(encoded)])
    return np.mean([len(file) for file in encoded]) / 1e6


def load_images(path):
    """Returns the images in a .npy file."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no {Path(path).stem}; see --data_dir and `tfds build`.")
    return np.load(path)
