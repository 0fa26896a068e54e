"""Views of torchvision in a DataLoader, computed on Pillow images or on tensors."""

import random
import time

import torch
from images import smooth_images
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2

WORKERS = 2


class PillowBlur:
    """The blur of the official code."""

    def __call__(self, image):
        """Returns the blurred image."""
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def pillow_view(size, blur_rate, solarize_rate):
    """Returns a view as in facebookresearch/barlowtwins main.py@8e8d284, without normalization."""
    t = transforms
    return t.Compose(
        [
            t.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC),
            t.RandomHorizontalFlip(),
            t.RandomApply([t.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            t.RandomGrayscale(p=0.2),
            *([t.RandomApply([PillowBlur()], p=blur_rate)] if blur_rate else []),
            *([t.RandomSolarize(128, p=solarize_rate)] if solarize_rate else []),
            t.ToTensor(),
        ]
    )


def tensor_view(size, blur_rate, solarize_rate):
    """Returns the same view for uint8 tensors."""
    blur = v2.GaussianBlur(2 * (size // 20) + 1, (0.1, 2.0))
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            *([v2.RandomApply([blur], p=blur_rate)] if blur_rate else []),
            *([v2.RandomSolarize(128, p=solarize_rate)] if solarize_rate else []),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


class TwoViews(Dataset):
    """Two views of each of `count` images; after the last image it starts again."""

    def __init__(self, images, view_a, view_b):
        self.images, self.view_a, self.view_b = images, view_a, view_b
        self.count = len(images)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = self.images[index % len(self.images)]
        image = image if torch.is_tensor(image) else Image.fromarray(image)
        return self.view_a(image), self.view_b(image)


def prepare(batch, load_size, size, blur, form):
    """Returns a function that computes two views of some batches."""
    images = smooth_images(batch, load_size)
    view = pillow_view if form == "pil" else tensor_view
    if form == "tensor":
        images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    rates = (1.0, 0.0), (0.1, 0.2)
    pairs = TwoViews(images, *(view(size, b if blur else 0.0, s) for b, s in rates))
    loader = DataLoader(pairs, batch, num_workers=WORKERS, persistent_workers=True)

    def run(steps):
        # With an odd number one worker would idle during the last batch.
        even = steps + -steps % WORKERS
        pairs.count = even * batch
        start = time.perf_counter()
        for _ in loader:
            pass
        return (time.perf_counter() - start) * steps / even

    return run
