"""The architectures of the sample models, each built from its card's keyword arguments.

They are written from plain `torch.nn` modules, every activation a module of its own, so that
graphs traced from them name each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm and a shortcut (He et al. 2016, arXiv 1512.03385).

    Input `(N, in_channels, H, W)`, output `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


class ResidualNet(nn.Module):
    """A residual network for small single-channel pictures.

    Input `(N, 1, H, W)` float32, output logits `(N, classes)`. `widths[0]` is the stem's width;
    each further width is a block that halves the resolution.
    """

    def __init__(self, widths: list[int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        pairs = itertools.pairwise(widths)
        self.blocks = nn.Sequential(*[ResidualBlock(a, b, stride=2) for a, b in pairs])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.head(self.flatten(self.pool(self.blocks(self.stem(x)))))


class TabularMLP(nn.Module):
    """Linear layers with ReLU between them. Input `(N, features)`, output logits `(N, classes)`."""

    def __init__(self, features: int, hidden: list[int], classes: int) -> None:
        super().__init__()
        sizes = [features, *hidden]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.head(self.body(x))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "residual-net": ResidualNet,
    "tabular-mlp": TabularMLP,
}


def multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Multiply-adds of every convolution and linear layer for one example of shape `(1, ...)`."""
    total = 0
    hooks = []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0].numel() // weight.shape[0]
        total += positions * weight.numel()

    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(count))
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return total
