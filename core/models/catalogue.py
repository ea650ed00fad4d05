"""Architectures that a state dict can be loaded into: torchvision's, timm's and the samples' own.

`index.json` lists, for the names of a state dict's tensors, which architectures have just these names; `python -m
core.models.catalogue` makes it anew from the installed libraries.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core import fingerprint, torchvision_pair
from core.data.archive import shown
from core.data.handle import Preprocessing
from core.errors import TemperError
from core.models.architectures import ARCHITECTURES
from core.models.sentences import reason

INDEX = Path(__file__).with_name("index.json")
COUNTER = "num_batches_tracked"
UNIT = Preprocessing(255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
HEADS = 4  # of a transformer whose state dict does not say
OWN_BLOCK = re.compile(r"blocks\.(\d{1,3})\.conv1\.weight")
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Reading:
    """How an architecture's published weights want their pictures: `(C, H, W)`, resizing, scaling."""

    input_shape: tuple[int, ...]
    resize: int | None
    interpolation: str
    preprocessing: Preprocessing


def names_of(shapes: Shapes) -> str:
    """Fingerprint of the tensors' names, batch-norm's counters left out."""
    return fingerprint.of_json(sorted(name for name in shapes if not name.endswith(COUNTER)))


@cache
def listed() -> tuple[str, ...]:
    """Every architecture's name: `torchvision:NAME`, `timm:NAME` and the samples' own."""
    return (*sorted(ARCHITECTURES), *sorted({name for names in _index().values() for name in names}))


@cache
def _index() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(INDEX.read_text(encoding="utf-8"))
    return found


def built(name: str, classes: int, size: tuple[int, ...] | None = None) -> nn.Module:
    """The architecture with untrained weights and a head of `classes`. Raises `TemperError` for an unknown name.

    `size`, `(C, H, W)`, matters to networks whose tensors depend on it.
    """
    library, _, short = name.partition(":")
    try:
        if library == "torchvision" and _is_listed(name):
            torchvision_pair.ensure()
            from torchvision import models

            plain = {"init_weights": False} if short in ("googlenet", "inception_v3") else {}
            extra = {"image_size": size[-1]} if size and short.startswith("vit_") else {}
            return models.get_model(short, weights=None, num_classes=classes, **plain, **extra).eval()
        if library == "timm" and _is_listed(name):  # timm itself also takes names of folders and of other hosts
            torchvision_pair.ensure()
            import timm

            return timm.create_model(short, pretrained=False, num_classes=classes).eval()
    except (ValueError, RuntimeError, TypeError, AssertionError) as error:
        raise TemperError(f"The architecture {shown(name)} cannot be built here: {reason(error)}.") from error
    near = difflib.get_close_matches(name, listed(), 3, 0.4)
    hint = f"Did you mean {', '.join(near)}?" if near else "Names look like torchvision:resnet18 or timm:resnet10t."
    raise TemperError(f"No architecture is called '{shown(name)}'.", hint)


def _is_listed(name: str) -> bool:
    """Whether the index holds it, or it once the name of its weights, as in timm:resnet10t.c3_in1k, is left out."""
    return name in listed() or name.partition(".")[0] in listed()


def reading(name: str) -> Reading | None:
    """What the library states about the pictures its published weights were trained on, or None."""
    library, _, short = name.partition(":")
    if library == "torchvision":
        torchvision_pair.ensure()
        from torchvision import models

        chosen = models.get_model_weights(short)
        weights = getattr(chosen, "DEFAULT", None)
        if weights is None:
            return None
        rule = weights.transforms()
        side = int(rule.crop_size[0])
        return Reading(
            (3, side, side), int(rule.resize_size[0]), rule.interpolation.value,
            Preprocessing(255.0, tuple(rule.mean), tuple(rule.std)),
        )  # fmt: skip
    if library == "timm":
        torchvision_pair.ensure()
        import timm

        stated = timm.get_pretrained_cfg(short)
        if stated is None:
            return None
        size = tuple(int(side) for side in stated.input_size)
        resize = round(size[-1] / (stated.crop_pct or 1))
        scaling = Preprocessing(255.0, tuple(stated.mean), tuple(stated.std))
        return Reading(size, resize, stated.interpolation or "bicubic", scaling)
    return None


def guess(shapes: Shapes) -> tuple[str, ...]:
    """The listed architectures whose tensors bear just these names, the likeliest first."""
    found = _index().get(names_of(shapes), [])
    return tuple(sorted(found, key=lambda name: (not name.startswith("torchvision"), len(name), name)))


def mismatches(module: nn.Module, shapes: Shapes) -> list[str]:
    """How a state dict differs from a module's own, a line a tensor."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    lines = [f"{name} is missing" for name in expected if name not in shapes and not name.endswith(COUNTER)]
    lines += [f"{name} is not expected" for name in shapes if name not in expected and not name.endswith(COUNTER)]
    lines += [
        f"{name} is {list(shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    return lines


def head_of(name: str) -> str | None:
    """The tensor whose first length is the number of classes, found by building the architecture twice."""
    one, two = (_shapes(weightless(name, classes)) for classes in (10, 11))
    changed = [tensor for tensor in one if one[tensor] != two[tensor] and one[tensor][0] == 10]
    return changed[-1] if changed else None


def weightless(name: str, classes: int) -> nn.Module:
    """The architecture without memory for its tensors where it can be built so. Raises `TemperError`."""
    try:
        with torch.device("meta"):
            return built(name, classes)
    except (TemperError, NotImplementedError):  # some compute with tensors while they are built
        return built(name, classes)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def own(shapes: Shapes) -> tuple[str, dict[str, Any]] | None:
    """The samples' architectures, recognised with their arguments by names and shapes; else a plain chain."""
    if not shapes.get("head.weight"):
        return None
    if all(shapes.get(name) for name in ("stem.0.weight", "blocks.0.conv1.weight")):
        blocks = sorted({int(m[1]) for name in shapes if (m := OWN_BLOCK.fullmatch(name)) and shapes[name]})
        widths = [shapes["stem.0.weight"][0], *(shapes[f"blocks.{b}.conv1.weight"][0] for b in blocks)]
        return "residual-net", {"widths": widths, "classes": shapes["head.weight"][0]}
    if len(shapes.get("embedding.weight", ())) == 2:
        return _of_texts(shapes)
    if len(shapes.get("body.0.weight", ())) == 2:
        hidden = [shape[0] for name, shape in shapes.items() if name.startswith("body.") and len(shape) == 2]
        features = shapes["body.0.weight"][1]
        return "tabular-mlp", {"features": features, "hidden": hidden, "classes": shapes["head.weight"][0]}
    return None


def _of_texts(shapes: Shapes) -> tuple[str, dict[str, Any]] | None:
    """The samples' two networks of token ids. How many heads a transformer has, no shape tells: four, or one."""
    vocabulary, width = shapes["embedding.weight"]
    read = {"vocabulary": vocabulary, "width": width, "classes": shapes["head.weight"][0]}
    if len(shapes.get("positions", ())) == 2 and shapes.get("blocks.0.linear1.weight"):
        blocks = sum(name.endswith(".linear1.weight") for name in shapes)
        more = {"length": shapes["positions"][0], "hidden": shapes["blocks.0.linear1.weight"][0], "blocks": blocks}
        return "text-transformer", {**read, **more, "heads": 1 if width % HEADS else HEADS}
    if set(shapes) - {"embedding.weight"} and all(
        name.startswith(("embedding.", "body.", "head.")) for name in shapes
    ):
        hidden = [shape[0] for name, shape in shapes.items() if name.startswith("body.") and len(shape) == 2]
        return "text-bag", {**read, "hidden": hidden}
    return None


def chain(shapes: Shapes) -> Chain | None:
    """Linear layers one after the other with ReLU between them, under their own names; None where it is no chain.

    A state dict does not say which activation stood between its layers; ReLU is assumed, and said.
    """
    listed = [name for name, shape in shapes.items() if len(shape) == 2 and name.endswith("weight")]
    counted = sorted(listed, key=_counted)
    # An order by the letter says nothing (.safetensors has no other); any other is the order they were made in.
    for weights in (counted, listed) if listed == sorted(listed) else (listed, counted):
        biases = {name.removesuffix("weight") + "bias" for name in weights}
        fits = all(shapes[a][0] == shapes[b][1] for a, b in itertools.pairwise(weights))
        if not weights or not fits or set(shapes) - set(weights) - biases:
            continue
        try:
            return Chain(tuple((name.removesuffix(".weight"), shapes[name]) for name in weights), shapes)
        except (KeyError, TypeError, AttributeError):  # names that no module can bear, such as 'forward'
            return None
    return None


def _counted(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


class Chain(nn.Module):
    """See `chain`. Input `(N, features)`, output logits `(N, classes)`."""

    def __init__(self, layers: tuple[tuple[str, tuple[int, ...]], ...], shapes: Shapes) -> None:
        super().__init__()
        self.order = [name for name, _ in layers]
        for name, (width, features) in layers:
            owner: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            owner.add_module(leaf, nn.Linear(features, width, bias=f"{name}.bias" in shapes))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        for name in self.order[:-1]:
            x = torch.relu(self.get_submodule(name)(x))
        return self.get_submodule(self.order[-1])(x)


def make_index() -> dict[str, list[str]]:
    """Build every listed classification architecture without memory and note its tensors' names."""
    torchvision_pair.ensure()
    import timm
    import torchvision

    names = [f"torchvision:{n}" for n in torchvision.models.list_models(torchvision.models)]
    names += [f"timm:{n}" for n in timm.list_models()]
    found: dict[str, list[str]] = {}
    for name in names:
        try:
            module = weightless(name, 10)
        except TemperError as error:  # a library's own architecture that cannot be built stays out of the list
            print(f"left out: {error.message}", file=sys.stderr)
            continue
        found.setdefault(names_of(_shapes(module)), []).append(name)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    INDEX.write_text(json.dumps(make_index(), indent=0) + "\n", encoding="utf-8")
