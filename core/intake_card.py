"""The card of a person's own model: what a sample's card says, and what was found and checked on the way in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.checks import Check, Normalisation
from core.data.archive import shown
from core.data.intake import Examples
from core.data.texts import Tokens
from core.models.compare import Incoming
from core.task import Task
from core.wish import Wish

TOKENIZER = "tokenizer.json"
RUNNING = (".running_mean", ".running_var")


def card_of(
    wish: Wish, model: Incoming, task: Task, found: Examples, chosen: Normalisation, said: tuple[Check, ...],
    splits: dict[str, Any], resize: int | None, interpolation: str,
) -> dict[str, Any]:  # fmt: skip
    """The card without the names of weights and graph."""
    graph = model.graph
    notes = [*model.notes, *found.notes]
    if task.kind == "binary":
        notes.append(f"The class that is looked for is {shown(task.classes[task.positive])}.")
    return {
        "title": shown(wish.title or _title(wish.model)),
        "summary": f"{shown_place(wish.model)}, {model.architecture}, with {shown_place(wish.data)}.",
        "task": task.to_dict(),
        "architecture": model.architecture,
        "arguments": {},
        "input_shape": list(model.input_shape),
        "classes": list(found.classes),
        "preprocessing": _preparing(chosen, found.modality == "pictures", resize, interpolation),
        "data": {
            "name": shown_place(wish.data),
            "modality": found.modality,
            "licence": "your own data",
            "attribution": "stays on this machine",
            "features": list(found.features),
            "encodings": dict(found.encodings),
            "categories": {name: how["values"] for name, how in found.encodings.items() if how["kind"] == "boolean"},
            "groups": {
                group.title: {"array": f"group_{k}", "names": list(group.names), "feature": group.feature}
                for k, group in enumerate(found.groups)
            },
            **_counted(found),
        },
        "splits": splits,
        "parameters": sum(a.size for name, a in graph.tensors.items() if not name.endswith(RUNNING)),
        "multiply_adds": graph.multiply_adds(),
        "layers": [{"name": layer.name, "kind": layer.kind} for layer in graph.layers],
        "skipped": [asdict(part) for part in graph.skipped],
        "checks": [asdict(check) for check in said],
        "notes": notes,
        "seed": wish.seed,
    }


def _preparing(chosen: Normalisation, pictures: bool, resize: int | None, interpolation: str) -> dict[str, Any]:
    scaling = chosen.preprocessing
    if isinstance(scaling, Tokens):
        return {"tokenizer": {"file": TOKENIZER, "fingerprint": scaling.stated}, "length": scaling.length}
    return {
        "scale": scaling.scale,
        "mean": list(scaling.mean),
        "deviation": list(scaling.deviation),
        "name": chosen.name,
        "why": chosen.why,
        "resize": resize,
        "interpolation": interpolation if pictures else None,
    }


def _counted(found: Examples) -> dict[str, Any]:
    """How many examples a class has."""
    if not found.classes:
        return {}
    counts = np.bincount(found.y, minlength=len(found.classes)).tolist()
    return {"counts": dict(zip(found.classes, counts, strict=True))}


def shown_place(place: str) -> str:
    """A path's last part, or a name such as torchvision:resnet18 as it is."""
    return shown(place if ":" in place and not Path(place).exists() else Path(place).name, 200)


def _title(model: str) -> str:
    stem = shown(Path(model.replace(":", " ")).stem).replace("_", " ").replace("-", " ").strip()
    return stem[:1].upper() + stem[1:] or "Model"
