"""A small trained model and its data for tests that bring a pair in: scikit-learn's digits, 8 x 8 grey pictures."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

NAMES = tuple(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 `(1797, 8, 8)` from 0 to 240, and their labels."""
    found = load_digits()
    return (found.images * 15).astype(np.uint8), found.target.astype(np.int64)


@cache
def convolutional() -> nn.Module:
    """Trained in a second to over 90 %, on pictures divided by 255."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    x, y = digits()
    return trained(made, (x / np.float32(255))[:, None].astype(np.float32), y)


@cache
def linear() -> nn.Module:
    """The same on rows of 64 numbers, as they are stored."""
    torch.manual_seed(0)
    x, y = digits()
    return trained(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), rows(x), y)


def rows(x: np.ndarray) -> np.ndarray:
    """Pictures as rows of 64 numbers around one."""
    return (x.reshape(len(x), -1) / np.float32(120)).astype(np.float32)


def trained(module: nn.Module, x: np.ndarray, y: np.ndarray, steps: int = 300) -> nn.Module:
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (128,), generator=generator)
        loss = nn.functional.cross_entropy(module(inputs[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval().requires_grad_(False)


def exported(module: nn.Module, shape: tuple[int, ...], path) -> None:
    """Write a `.pt2` whose batch may vary."""
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, *shape),), dynamic_shapes=batch), path)
