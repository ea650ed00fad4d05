"""Samples made on the spot from NumPy and PyTorch, of kinds that no shipped one has: five folders, a card in each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F

from core import fingerprint
from core.data.texts import packed
from core.engine.evaluate import evaluate
from core.models.architectures import TextBag, TextTransformer
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.handle import parameter_count
from core.models.samples import load_sample
from core.recipe import Recipe
from core.registry import methods

SIZES = {"fit": 600, "calibration": 300, "evaluation": 1_300}  # more than one and a half first looks
LENGTH = 8  # words that the networks read
WORDS = [
    "fine",
    "poor",
    "slow",
    "quick",
    "café",
    "<b>",
    "naïve",
    "red",
    "blue",
    "green",
    "door",
    "lid",
    "hinge",
    "it's",
]
Split = dict[str, Any]  # `x`, `y` and the arrays of the groups


@dataclass(frozen=True)
class Made:
    """A network and what its card says of the task and the data; `draw(count, seed)` gives a split."""

    module: Callable[[], nn.Module]
    draw: Callable[[int, int], Split]
    loss: Callable[[Tensor, Tensor], Tensor]
    task: dict[str, Any]
    input_shape: tuple[int, ...]
    data: dict[str, Any]
    classes: tuple[str, ...] = ()
    scaling: tuple[float, list[float], list[float]] | None = None  # None where texts are read


def _texts(random: np.random.Generator, count: int) -> tuple[list[str], NDArray[np.int64]]:
    drawn = [random.integers(0, len(WORDS), random.integers(2, LENGTH + 3)) for _ in range(count)]
    has = np.array([np.bincount(row[:LENGTH], minlength=len(WORDS)) for row in drawn])
    return [" ".join(WORDS[k] for k in row) for row in drawn], has


def _marks(count: int, seed: int) -> Split:
    """A mark for a remark: each word adds something."""
    random = np.random.default_rng(seed)
    texts, has = _texts(random, count)
    worth = np.linspace(-4, 4, len(WORDS))
    y = 10 + has @ worth / has.sum(1) + random.normal(0, 0.5, count)
    return {"x": texts, "y": y.astype(np.float32), "desk": random.integers(0, 2, count).astype(np.int8)}


def _tickets(count: int, seed: int) -> Split:
    """Which of four desks a remark goes to: by the colour named most, or none."""
    random = np.random.default_rng(seed)
    texts, has = _texts(random, count)
    colours = has[:, [WORDS.index(one) for one in ("red", "blue", "green")]]
    y = np.where(colours.max(1) > 0, colours.argmax(1), 3)
    flipped = random.random(count) < 0.1
    return {"x": texts, "y": np.where(flipped, random.integers(0, 4, count), y)}


def _gates(count: int, seed: int) -> Split:
    """Whether a gate is faulty, class 0 and the one looked for: by two measures and a material."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4)) * [1, 5, 0.2, 1] + [0, 10, 1, 0]
    x[:, 3] = random.integers(0, 3, count)
    score = x[:, 0] + (x[:, 1] - 10) / 5 + (x[:, 3] == 2) + random.normal(0, 0.7, count)
    works = (score < 1.2).astype(np.int64)
    site = np.where(np.arange(count) < 4, 2, random.integers(0, 2, count))  # the third has four gates
    shift = np.where(works == 1, random.integers(0, 2, count), 1)  # by night all of them work
    return {"x": x.astype(np.float32), "y": works, "site": site.astype(np.int8), "shift": shift.astype(np.int8)}


def _springs(count: int, seed: int) -> Split:
    """How far a spring reaches under a load."""
    random = np.random.default_rng(seed)
    x = np.stack([random.uniform(0, 50, count), random.uniform(100, 900, count)], 1)
    y = 1_000 * x[:, 0] / x[:, 1] + random.normal(0, 5, count)
    return {"x": x.astype(np.float32), "y": y.astype(np.float32)}


def _tints(count: int, seed: int) -> Split:
    """How red a small colour picture is, less how blue."""
    random = np.random.default_rng(seed)
    shade = random.integers(0, 200, (count, 1, 1, 3))
    x = (shade + random.integers(0, 56, (count, 8, 8, 3))).astype(np.uint8)
    y = (x[..., 0].mean((1, 2)) - x[..., 2].mean((1, 2))) / 255 + random.normal(0, 0.05, count)
    return {"x": x, "y": y.astype(np.float32)}


class Tint(nn.Module):
    """A convolution, its mean over the picture, a value and the logarithm of its deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.look(x))).mean((2, 3)))


def _rows(columns: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(columns, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, outputs)
    )  # fmt: skip


def _squares(found: Tensor, wanted: Tensor) -> Tensor:
    return F.mse_loss(found[:, 0], wanted)


def _gaussian(found: Tensor, wanted: Tensor) -> Tensor:
    return (found[:, 1] + 0.5 * ((wanted - found[:, 0]) / found[:, 1].exp()) ** 2).mean()


def _numbers(target: str, unit: str, *outputs: str) -> dict[str, Any]:
    return {"kind": "regression", "target": target, "unit": unit, "outputs": list(outputs)}


VOCABULARY = len(WORDS) + 10  # padding, unknown, and what the splitter cuts words into
MADE = {
    "remarks": Made(
        lambda: TextBag(VOCABULARY, 16, [16], 1), _marks, _squares, _numbers("mark", "points", "value"), (LENGTH,),
        {"modality": "text", "groups": {"desk": {"array": "desk", "names": ["front", "<i>back</i>"]}}},
    ),
    "tickets": Made(
        lambda: TextTransformer(VOCABULARY, LENGTH, 16, 2, 32, 1, 4), _tickets, F.cross_entropy,
        {"kind": "multi-class"}, (LENGTH,), {"modality": "text"}, ("red desk", "blue desk", "green desk", "other"),
    ),
    "gates": Made(
        lambda: _rows(4, 2), _gates, F.cross_entropy, {"kind": "binary", "positive": "faulty"}, (4,),
        {
            "modality": "table",
            "features": ["lean", "load", "width", "material"],
            "categories": {"material": ["oak", "steel", "tin & lead"]},
            "groups": {
                "site": {"array": "site", "names": ["north", "south", "island"]},
                "shift": {"array": "shift", "names": ["day", "late"]},
            },
        },
        ("faulty", "works"), (1, [0.0, 10.0, 1.0, 1.0], [1.0, 5.0, 0.2, 1.0]),
    ),
    "springs": Made(
        lambda: _rows(2, 1), _springs, _squares, _numbers("reach", "mm", "value"), (2,),
        {"modality": "table", "features": ["load, kg", "stiffness, N/m"]}, (), (1, [25.0, 500.0], [15.0, 250.0]),
    ),
    "tints": Made(
        Tint, _tints, _gaussian, _numbers("", "", "value", "log_scale"), (3, 8, 8), {"modality": "pictures"}, (),
        (255, [0.5] * 3, [0.25] * 3),
    ),
}  # fmt: skip


def inputs_of(made: Made, x: Any, folder: Path) -> Tensor:
    """What the network reads of stored examples, worked out here once more."""
    if made.scaling is None:
        rows = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(list(x))
        return torch.tensor([row.ids for row in rows], dtype=torch.float32)
    scale, mean, deviation = made.scaling
    values = (torch.tensor(x).double() / scale - torch.tensor(mean)) / torch.tensor(deviation)
    return (values.permute(0, 3, 1, 2) if x.ndim == 4 else values).float().contiguous()


def _tokenizer(folder: Path) -> None:
    pieces = sorted({part for word in WORDS for part, _ in pre_tokenizers.Whitespace().pre_tokenize_str(word)})
    found = Tokenizer(models.WordLevel({w: n for n, w in enumerate(["[PAD]", "[UNK]", *pieces])}, unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    found.enable_truncation(LENGTH)
    found.enable_padding(pad_id=0, pad_token="[PAD]", length=LENGTH)
    found.save(str(folder / "tokenizer.json"))


def _trained(made: Made, x: Tensor, y: Tensor) -> nn.Module:
    torch.manual_seed(0)
    module = made.module()
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for step in range(300):
        some = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:128]
        optimiser.zero_grad()
        made.loss(module(x[some]), y[some]).backward()
        optimiser.step()
    return module.eval()


def build(name: str, samples: Path) -> nn.Module:
    """Train the network and write its folder below `samples`, which `TEMPER_SAMPLES` names. Returns the network."""
    made, folder = MADE[name], samples / name
    folder.mkdir()
    if made.scaling is None:
        _tokenizer(folder)
    splits = {split: made.draw(count, seed) for seed, (split, count) in enumerate(SIZES.items())}
    fit = splits.pop("fit")
    module = _trained(made, inputs_of(made, fit["x"], folder), torch.from_numpy(fit["y"]))
    state = {key: value.contiguous() for key, value in module.state_dict().items() if value.is_floating_point()}
    save_file(state, folder / "weights.safetensors")
    save_structure(graph_of(exported(module, torch.zeros(2, *made.input_shape))), folder / "graph.onnx")
    for split, arrays in splits.items():
        x = arrays.pop("x")
        np.savez(folder / f"{split}.npz", **(packed(x) if made.scaling is None else {"x": x}), **arrays)

    def stated(file: str) -> dict[str, Any]:
        return {"file": file, "fingerprint": fingerprint.of_file(folder / file)}

    prepared: dict[str, Any] = (
        {"tokenizer": stated("tokenizer.json"), "length": LENGTH} if made.scaling is None else {}
    )
    if made.scaling is not None:
        prepared = dict(zip(("scale", "mean", "deviation"), made.scaling, strict=True))
    said = {"name": f"Made {name}", "licence": "none", "attribution": "made here", "split": "drawn apart"}
    card: dict[str, Any] = {
        "title": f"The {name}",
        "summary": "Made on the spot.",
        "task": made.task,
        "architecture": "of this test",
        "arguments": {},
        "input_shape": list(made.input_shape),
        "classes": list(made.classes),
        "preprocessing": prepared,
        "data": said | made.data,
        "weights": stated("weights.safetensors"),
        "graph": stated("graph.onnx"),
        "splits": {split: {**stated(f"{split}.npz"), "n": SIZES[split]} for split in splits},
    }
    path = folder / "card.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    model, data = load_sample(name)
    outcome = evaluate(model, data, Recipe()).original
    card["parameters"] = parameter_count(model)
    card["figures"] = {m.name: m.function.of(outcome) for m in methods("metric", data.task.kind)}
    path.write_text(json.dumps(card), encoding="utf-8")
    return module
