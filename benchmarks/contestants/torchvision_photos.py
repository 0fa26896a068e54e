"""Batches of torchvision's ImageFolder in a DataLoader, from photographs."""

import time

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode

WORKERS = 2


class Epochs(Dataset):
    """The images of a folder, as often as `count` says."""

    def __init__(self, images):
        self.images, self.count = images, len(images)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.images[index % len(self.images)][0]


def prepare(folder, size, batch, first):
    """Returns a function that reads the images of some epochs. Each is as long as the first."""
    torch.set_num_threads(1)  # the workers have the cores
    crop = transforms.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC)
    images = ImageFolder(folder, transforms.Compose([crop, transforms.ToTensor()]))
    epochs = Epochs(images)
    loader = DataLoader(epochs, batch, shuffle=True, num_workers=WORKERS, persistent_workers=True)

    def run(steps):
        epochs.count = steps * len(images)
        started = time.perf_counter()
        for _ in loader:
            pass
        return time.perf_counter() - started

    return run
