"""Views of kornia, computed for a whole batch of float tensors at once."""

import torch
from images import smooth_images
from kornia import augmentation as k


def view(size, blur_rate, solarize_rate):
    """Returns a view of a batch, as kornia's users would write that of the paper."""
    kernel = 2 * (size // 20) + 1
    return k.AugmentationSequential(
        k.RandomResizedCrop(
            (size, size), (0.08, 1.0), resample="bicubic", cropping_mode="resample"
        ),  # twice as fast as cropping_mode="slice"
        k.RandomHorizontalFlip(p=0.5),
        k.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        k.RandomGrayscale(p=0.2),
        *([k.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=blur_rate)] if blur_rate else []),
        *([k.RandomSolarize((0.5, 0.5), (0.0, 0.0), p=solarize_rate)] if solarize_rate else []),
        data_keys=["input"],
    )


def prepare(batch, load_size, size, blur):
    """Returns a function that computes two views of some batches."""
    images = torch.from_numpy(smooth_images(batch, load_size)).permute(0, 3, 1, 2).contiguous()
    view_a, view_b = view(size, blur * 1.0, 0.0), view(size, blur * 0.1, 0.2)

    @torch.no_grad()
    def run(steps):
        for _ in range(steps):
            batch = images.float() / 255.0
            view_a(batch), view_b(batch)

    return run
