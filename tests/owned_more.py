"""Small trained networks for numbers and for texts, with their data, for tests that bring a pair in."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from owned import exported
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "dull")
PLAIN = ("the", "film", "was", "and", "story", "cast", "a", "very")
WORDS = ("[PAD]", "[UNK]", *PLAIN, *GOOD, *BAD)
LENGTH = 10


@cache
def flats(n: int = 900) -> pd.DataFrame:
    """Flats: size, age, a heating that is a word, a quarter that no network reads, and the price in thousands."""
    random = np.random.default_rng(0)
    size, age = random.normal(70, 20, n).clip(20).round(1), random.integers(0, 90, n)
    heating, quarter = random.choice(["gas", "heat pump", "oil"], n), random.choice(["east", "west"], n)
    price = 40 + 4 * size - 0.8 * age + 25 * (heating == "heat pump") + random.normal(0, 12, n)
    return pd.DataFrame({"size": size, "age": age, "heating": heating, "quarter": quarter, "price": price.round(2)})


def read_by_network(frame: pd.DataFrame) -> np.ndarray:
    """Rows as the network of flats reads them, float32 `(N, 5)`."""
    heating = [(frame["heating"] == name).to_numpy(float) for name in ("gas", "heat pump", "oil")]
    return np.stack([frame["size"].to_numpy() / 100, frame["age"].to_numpy() / 100, *heating], 1).astype(np.float32)


class Flats(nn.Module):
    """Sizes and ages are divided by 100 inside; `outputs` 1 or 2; trained on a standardised price."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([100.0, 100, 1, 1, 1]))
        self.one, self.two = nn.Linear(5, 16), nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x / self.scale)))


SCALE = (300.0, 90.0)  # mean and deviation that prices are scaled by in training


@cache
def priced(outputs: int = 2, scaled: bool = False) -> nn.Module:
    """Trained to an R2 above 0.9; `scaled`: it gives the standardised price."""
    torch.manual_seed(0)
    made, frame = Flats(outputs), flats()
    x = torch.from_numpy(read_by_network(frame)) * made.scale
    y = torch.from_numpy(((frame["price"].to_numpy() - SCALE[0]) / SCALE[1]).astype(np.float32))
    optimiser = torch.optim.Adam(made.parameters(), 0.02)
    for _ in range(400):
        out = made(x)
        off = (out[:, 0] - y) ** 2
        loss = (off * torch.exp(-2 * out[:, 1]) / 2 + out[:, 1]).mean() if outputs == 2 else off.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not scaled:
        with torch.no_grad():
            made.two.weight[0] *= SCALE[1]
            made.two.bias[0] = made.two.bias[0] * SCALE[1] + SCALE[0]
            if outputs == 2:
                made.two.bias[1] += np.log(SCALE[1])
    return made.eval().requires_grad_(False)


@cache
def reviews(n: int = 400) -> pd.DataFrame:
    """Short texts, their verdict yes or no by the words in them, a mark from 0 to 1, and where they came from."""
    random = np.random.default_rng(1)
    rows = []
    for place in range(n):
        verdict = place % 2
        told = [str(random.choice(PLAIN)) for _ in range(int(random.integers(2, 6)))]
        told += [str(random.choice(GOOD if verdict else BAD)) for _ in range(2)]
        random.shuffle(told)
        rows.append(
            (" ".join(told), ("no", "yes")[verdict], f"w{place % 3}", round(verdict + random.normal(0, 0.1), 3))
        )
    return pd.DataFrame(rows, columns=["words", "verdict", "site", "mark"])


def tokenizer(path: Path, words: tuple[str, ...] = WORDS) -> Path:
    """A `tokenizer.json` of whole words."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=LENGTH)
    made.save(str(path))
    return path


class Bag(nn.Module):
    """The mean of the words' vectors, then a linear layer; reads whole numbers or, `floats`, float32 ids."""

    def __init__(self, outputs: int = 2, floats: bool = False) -> None:
        super().__init__()
        self.floats = floats
        self.words, self.head = nn.Embedding(len(WORDS), 8), nn.Linear(8, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        places = ids.long() if self.floats else ids
        there = (places != 0).float().unsqueeze(2)
        return self.head((self.words(places) * there).sum(1) / there.sum(1).clamp(min=1))


def ids_of(frame: pd.DataFrame) -> np.ndarray:
    """Token ids int64 `(N, LENGTH)`."""
    found = np.zeros((len(frame), LENGTH), np.int64)
    for row, text in zip(found, frame["words"], strict=True):
        for place, word in enumerate(text.split()[:LENGTH]):
            row[place] = WORDS.index(word)
    return found


@cache
def judge(outputs: int = 2, numbers: bool = False, floats: bool = False) -> nn.Module:
    """Trained to tell the verdicts apart, or to give the mark."""
    torch.manual_seed(0)
    made, frame = Bag(outputs), reviews()
    ids = torch.from_numpy(ids_of(frame))
    verdict = torch.from_numpy((frame["verdict"] == "yes").to_numpy().astype(np.int64))
    mark = torch.from_numpy(frame["mark"].to_numpy(np.float32))
    optimiser = torch.optim.Adam(made.parameters(), 0.05)
    for _ in range(150):
        out = made(ids)
        if numbers:
            loss = ((out[:, 0] - mark) ** 2).mean()
        elif outputs == 1:
            loss = nn.functional.binary_cross_entropy_with_logits(out[:, 0], verdict.float())
        else:
            loss = nn.functional.cross_entropy(out, verdict)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made.floats = floats
    return made.eval().requires_grad_(False)


def saved(module: nn.Module, path: Path, shape: tuple[int, ...], whole: bool = False) -> Path:
    """Write a `.pt2` or `.onnx` whose batch may vary; `whole`: it reads int64 ids."""
    example = torch.zeros(2, *shape, dtype=torch.int64 if whole else torch.float32)
    batch = ({0: torch.export.Dim("batch")},)
    if path.suffix == ".onnx":
        torch.onnx.export(
            module, (example,), str(path), dynamo=False, opset_version=17, input_names=["ids"],
            output_names=["out"], dynamic_axes={"ids": {0: "batch"}, "out": {0: "batch"}},
        )  # fmt: skip
    elif whole:
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=batch), path)
    else:
        exported(module, shape, path)
    return path
