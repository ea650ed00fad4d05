"""Two small networks that read token ids as float32 `(N, L)`, 0 being padding: an embedding bag and a transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from core import fingerprint
from core.data.handle import DataHandle, Preprocessing, SplitHandle
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.handle import ModelHandle
from core.task import task_of_classes

WORDS, LENGTH, WIDTH, CLASSES = 50, 8, 16, 3


class Bag(nn.Module):
    """The mean of the words' embeddings, padding left out, then two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.hidden = nn.Linear(WIDTH, 24)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        places = ids.long()
        mask = (places != 0).float().unsqueeze(-1)
        mean = (self.words(places) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(torch.relu(self.hidden(mean)))


class Block(nn.Module):
    """One pre-norm transformer block, attention written out; padding is not attended to."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        y = self.before(x)
        split = (-1, LENGTH, self.heads, WIDTH // self.heads)
        query, key, value = (part(y).reshape(split).transpose(1, 2) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / (WIDTH // self.heads) ** 0.5
        attended = torch.softmax(scores.masked_fill(~kept[:, None, None], -1e9), -1) @ value
        x = x + self.out(attended.transpose(1, 2).reshape(-1, LENGTH, WIDTH))
        return x + self.down(torch.nn.functional.gelu(self.up(self.between(x))))


class Transformer(nn.Module):
    """Words and learned positions, one block, the mean of what is no padding, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.block = Block()
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        words = ids.long()
        kept = words != 0
        x = self.words(words) + self.places(torch.arange(LENGTH))
        x = self.norm(self.block(x, kept))
        mask = kept.float().unsqueeze(-1)
        return self.head((x * mask).sum(1) / mask.sum(1).clamp(min=1))


class Encoder(nn.Module):
    """PyTorch's own encoder layer over words, a parameter for positions and a table of segments, all the first."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.segments = nn.Embedding(WORDS, WIDTH, padding_idx=0), nn.Embedding(2, WIDTH)
        self.places = nn.Parameter(torch.randn(1, LENGTH, WIDTH))
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        words = ids.long()
        x = self.words(words) + self.places + self.segments(torch.zeros_like(words))
        return self.head(self.block(x, src_key_padding_mask=words == 0)[:, 0])


NETWORKS = {"bag": Bag, "transformer": Transformer}


def module(name: str) -> nn.Module:
    """One of the networks with weights drawn, not trained; the word of padding is all zeros."""
    torch.manual_seed(0)
    made = NETWORKS[name]()
    with torch.no_grad():
        made.words.weight[0] = 0
        made.head.weight *= 4  # logits that differ
    return made.eval().requires_grad_(False)


def ids(rows: int, seed: int = 0) -> np.ndarray:
    """Token ids as float32 `(rows, LENGTH)`, the last ones padding."""
    random = np.random.default_rng(seed)
    drawn = random.integers(1, WORDS, (rows, LENGTH))
    drawn[np.arange(LENGTH) >= random.integers(1, LENGTH + 1, (rows, 1))] = 0
    return drawn.astype(np.float32)


def pair(made: nn.Module, folder: Path) -> tuple[ModelHandle, DataHandle]:
    """A network as a model of one's own, with a table of ids whose labels are mostly what it predicts."""
    name = type(made).__name__.lower()
    graph = graph_of(exported(made, torch.from_numpy(ids(2))))
    save_structure(graph, folder / "graph.onnx")
    save_file(dict(graph.tensors), folder / "weights.safetensors")
    splits = []
    for turn, split in enumerate(("fit", "calibration", "evaluation")):
        x = ids(200, turn)
        y = made(torch.from_numpy(x)).argmax(1).numpy()
        y[::10] = (y[::10] + 1) % CLASSES
        np.savez(folder / f"{split}.npz", x=x, y=y)
        path = folder / f"{split}.npz"
        splits.append(SplitHandle(split, path, len(x), fingerprint.of_file(path)))
    classes = tuple("abc")
    model = ModelHandle(
        name, name, "an exported program", (), (LENGTH,), classes,
        folder / "weights.safetensors", fingerprint.of_file(folder / "weights.safetensors"),
        folder / "graph.onnx", fingerprint.of_file(folder / "graph.onnx"), own=True,
    )  # fmt: skip
    plain = Preprocessing(1.0, (0.0,) * LENGTH, (1.0,) * LENGTH)
    return model, DataHandle(name, name, "table", task_of_classes(classes), plain, tuple(splits), "none", "made here")
