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


def words_of(ids: Tensor) -> Tensor:
    """1 where there is a word and 0 where there is padding, `(N, L, 1)` float32, from ids `(N, L)`."""
    return (ids > 0).float().unsqueeze(2)


def mean_of_words(x: Tensor, words: Tensor) -> Tensor:
    """The mean of `x` `(N, L, D)` over the places that hold a word, `(N, D)`; zeros where there is none."""
    return (x * words).sum(1) / words.sum(1).clamp(min=1)


class TextBag(nn.Module):
    """The mean of a text's word vectors, then a small network (a deep averaging network, Iyyer et al. 2015).

    Input ids `(N, L)` as float32 whole numbers, 0 for padding; output logits `(N, classes)`. The order of the words
    makes no difference. `vocabulary` counts the ids, `width` the numbers a word has.
    """

    def __init__(self, vocabulary: int, width: int, hidden: list[int], classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(
            self.embedding.weight, std=0.05
        )  # a word seen once or twice should not weigh like a known one
        self.dropout = nn.Dropout(dropout)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([width, *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear([width, *hidden][-1], classes)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class."""
        mean = mean_of_words(self.embedding(ids.long()), words_of(ids))
        return self.head(self.body(self.dropout(mean)))


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017), written out. `x` `(N, L, D)`, `words` `(N, L, 1)`."""

    def __init__(self, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.softmax = nn.Softmax(-1)
        self.out = nn.Linear(width, width)
        self.split = (-1, length, heads, width // heads)
        self.joined = (-1, length, width)
        self.scale = (width // heads) ** -0.5

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """See the class. Padding gets no attention; a text of nothing else attends to all of it."""
        query, key, value = (part(x).reshape(self.split) for part in (self.query, self.key, self.value))
        scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) * self.scale
        away = (1 - words.transpose(1, 2)).unsqueeze(1) * -1e4  # `(N, 1, 1, L)`; within half precision's range
        mixed = self.softmax(scores + away) @ value.transpose(1, 2)
        return self.out(mixed.transpose(1, 2).reshape(self.joined))


class TransformerBlock(nn.Module):
    """Attention and a two-layer network, each added to what it reads normalised (pre-norm, Xiong et al. 2020)."""

    def __init__(self, length: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(length, width, heads)
        self.dropout1 = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(hidden, width)
        self.dropout2 = nn.Dropout(dropout)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """See the class. `x` `(N, L, D)`, `words` `(N, L, 1)`."""
        x = x + self.dropout1(self.attention(self.norm1(x), words))
        return x + self.dropout2(self.linear2(self.relu(self.linear1(self.norm2(x)))))


class TextTransformer(nn.Module):
    """A small transformer over words with learned positions; the mean over the words goes to a linear head.

    Input ids `(N, length)` as float32 whole numbers, 0 for padding; output logits `(N, classes)`.
    """

    def __init__(
        self, vocabulary: int, length: int, width: int, heads: int, hidden: int, blocks: int, classes: int,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(length, width, heads, hidden, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class."""
        words = words_of(ids)
        x = self.dropout(self.embedding(ids.long()) + self.positions)
        for block in self.blocks:
            x = block(x, words)
        return self.head(mean_of_words(self.norm(x), words))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "residual-net": ResidualNet,
    "tabular-mlp": TabularMLP,
    "text-bag": TextBag,
    "text-transformer": TextTransformer,
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
