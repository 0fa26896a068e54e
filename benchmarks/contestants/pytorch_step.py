"""A training step with the official formula in PyTorch, on a fixed pair of views."""

import torch
from images import smooth_images
from pytorch_loss import BarlowTwinsLoss
from pytorch_networks import projector, resnet18
from torch import nn

SIZE = 32


def prepare(width, batch, dims, compiled=False, bfloat16=False):
    """Returns a function that runs training steps by SGD with momentum."""
    model = nn.Sequential(resnet18(width), projector(8 * width, dims))
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-6)
    loss = BarlowTwinsLoss(dims[-1])
    images = torch.from_numpy(smooth_images(2 * batch, SIZE)).permute(0, 3, 1, 2) / 255.0
    views = images.to(memory_format=torch.channels_last).split(batch)
    forward = torch.compile(model) if compiled else model

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                embeddings = [forward(view) for view in views]
            value = loss(*(embedding.float() for embedding in embeddings))
            value.backward()
            optimizer.step()
            value.item()

    return run
