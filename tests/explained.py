"""What tests of explanations share: small networks whose explanations are known, and situations of the charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from core import fingerprint
from core.damage.cka import Alike, LayerAlike
from core.damage.why import Distance, Why, distance
from core.data.handle import DataHandle, Preprocessing, SplitHandle
from core.explainers._subject import Attribution
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.handle import ModelHandle
from core.task import Task

PRICE = Task("regression", target="price", unit="dollars", outputs=("value",))


def brought(module: nn.Module, x: np.ndarray, task: Task, folder: Path) -> tuple[ModelHandle, DataHandle]:
    """Handles of a module and of data that is its calibration split and, upside down, its evaluation split.

    `x` float32 `(N, H, W)` are pictures of one channel, read as they are stored; `(N, features)` is a table.
    """
    pictures = x.ndim == 3
    shape = (1, *x.shape[1:]) if pictures else x.shape[1:]
    graph = graph_of(exported(module.eval(), torch.zeros(2, *shape)))
    save_structure(graph, folder / "graph.onnx")
    save_file(
        {name: torch.from_numpy(value.copy()) for name, value in graph.tensors.items()}, folder / "w.safetensors"
    )
    y = np.zeros(len(x), np.int64 if task.decides else np.float64)
    np.savez(folder / "calibration.npz", x=x, y=y)
    np.savez(folder / "evaluation.npz", x=x[::-1], y=y)
    stated = {path.name: fingerprint.of_file(path) for path in folder.iterdir()}
    model = ModelHandle(
        "made", "made", "of this test", (), shape, task.classes, folder / "w.safetensors", stated["w.safetensors"],
        folder / "graph.onnx", stated["graph.onnx"], own=True,
    )  # fmt: skip
    splits = tuple(
        SplitHandle(name, folder / f"{name}.npz", len(x), stated[f"{name}.npz"])
        for name in ("calibration", "evaluation")
    )
    width = 1 if pictures else x.shape[1]
    plain = Preprocessing(1.0, (0.0,) * width, (1.0,) * width)
    names = () if pictures else tuple(f"column {k}" for k in range(width))
    modality = "pictures" if pictures else "table"
    return model, DataHandle("made", "made", modality, task, plain, splits, "none", "made here", names)


def _why(shape: tuple[int, ...], seed: int, of: str, change: float = 0.4, **own: Any) -> Why:
    random = np.random.default_rng(seed)
    one = random.normal(size=shape)
    other = one + change * random.normal(size=shape)
    inside = np.ones(shape, bool)
    if of == "text":
        inside[len(inside) // 2 :] = False
        one[~inside] = other[~inside] = 0.0
    parts = tuple(f"part <b>{k}</b> of {'many words ' * (k % 4)}" for k in range(shape[0])) if len(shape) == 1 else ()
    draws = [distance(one, one + share * random.normal(size=shape), inside) for share in (0.01, 0.02, 3.0, 4.0)]
    picture = random.uniform(size=shape) if of == "pictures" else None
    found = Why(
        7, "integrated-gradients", {"baseline": "mean", "steps": 64}, 2, "a <i>class</i>", "logits", parts, inside,
        of, picture, Attribution(one, 3.2, float(one.sum()) + 0.01, "from here"),
        Attribution(other, 1.1, float(other.sum()), "from there"), 3.2, 1.0, distance(one, other, inside),
        tuple(draws[:2]), tuple(draws[2:]),
    )  # fmt: skip
    return replace(found, **own)


def _silent(found: Why) -> Why:
    """The same where nothing speaks for the target in the tempered network."""
    nothing = Distance(None, None)
    empty = replace(found.tempered, values=np.zeros_like(found.tempered.values))
    return replace(found, tempered=empty, between=nothing, noise=(nothing, nothing), redrawn=(nothing, nothing))


SOME = _why((9,), 1, "table")
BARS = {
    "columns": {"found": SOME},
    "words": {"found": _why((40,), 2, "text")},
    "no check": {"found": replace(SOME, redrawn=())},
    "a number": {"found": replace(SOME, target=None, label="price", unit="US dollars")},
    "one column": {"found": _why((1,), 3, "table")},
    "the same": {"found": _why((9,), 4, "table", 0.0)},
    "nothing": {"found": _silent(SOME)},
}
PICTURES = {
    "small": {"found": _why((8, 6), 5, "pictures")},
    "large": {"found": _why((130, 200), 6, "pictures")},
    "nothing": {"found": _silent(_why((8, 8), 7, "pictures", picture=np.zeros((8, 8))))},
}
LAYERS = tuple(
    LayerAlike(f"block <b>{k}</b>", 1 - 0.1 * k, 1 - 0.09 * k, None if k == 3 else 0.05 * k - 0.1) for k in range(6)
)
ALIKE = {
    "apart": {"found": Alike(LAYERS, 512)},
    "the same": {"found": Alike(tuple(replace(one, unbiased=1.0, plain=1.0) for one in LAYERS), 140)},
    "dead": {"found": Alike((*LAYERS, LayerAlike("dead", None, None, 0.2)), 140, ("gone",))},
    "all dead": {"found": Alike((LayerAlike("dead", None, None, None),), 4)},
}


def situations(name: str) -> dict[str, dict[str, Any]]:
    """Those of a chart of explanations."""
    return {"attribution-pictures": PICTURES, "cka": ALIKE}.get(name, BARS)
