"""The loss of facebookresearch/barlowtwins main.py@8e8d284 and its gradient, on one device."""

import torch
from torch import nn


class BarlowTwinsLoss(nn.Module):
    """The loss by the official formula."""

    def __init__(self, dim, redundancy_weight=0.0051):
        super().__init__()
        self.bn = nn.BatchNorm1d(dim, affine=False)
        self.redundancy_weight = redundancy_weight

    def forward(self, z1, z2):
        """Returns the loss of two batches of embeddings."""
        c = self.bn(z1).T @ self.bn(z2)
        c.div_(len(z1))
        on_diag = torch.diagonal(c).add_(-1).pow_(2).sum()
        off_diag = off_diagonal(c).pow_(2).sum()
        return on_diag + self.redundancy_weight * off_diag


def off_diagonal(x):
    """Returns all entries of a square matrix except the diagonal, without a mask."""
    n, _ = x.shape
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


def prepare(batch, dim):
    """Returns a function that runs forward and backward for fixed embeddings."""
    loss = BarlowTwinsLoss(dim)
    z1, z2 = (torch.randn(batch, dim, requires_grad=True) for _ in range(2))

    def run(steps):
        for _ in range(steps):
            z1.grad = z2.grad = None
            value = loss(z1, z2)
            value.backward()
            value.item()

    return run
