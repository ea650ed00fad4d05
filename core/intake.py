"""Bring a person's model and data in: read, checked and written as a folder like a sample's.

Everything here meets files from strangers and runs in a process of its own (`core.door`). What it leaves behind is a
card, a graph, `.safetensors` and plain arrays, which the dashboard then reads as it reads the samples.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from core import fingerprint
from core.checks import Check, Normalisation, checks, choose
from core.data.archive import shown as readable
from core.data.intake import DataWish, Examples, read_examples
from core.data.splits import split_places
from core.errors import TemperError
from core.models.graph import save_structure
from core.models.intake import Incoming, ModelWish, read_model
from core.wish import Wish

MOST_BYTES = 400 * 2**20  # of stored examples: as float32, which the network reads, four times as much
COMING = ".coming-"  # begins the name of a folder in the making; the process that makes it follows
STALE = 3_600.0  # seconds after which nobody is still writing: it takes seconds
Told = Callable[[float, str], None]


def bring(wish: Wish, home: Path, told: Told) -> str:
    """Read, check and write; returns the id under which everything else finds the pair. Raises `TemperError`."""
    told(0.05, "Reading the model")
    model = read_model(wish.model, ModelWish(wish.architecture, wish.input_shape, wish.download))
    told(0.45, "Reading the data")
    known = model.reading
    sized = len(model.input_shape) == 3 and known is not None and known.input_shape == model.input_shape
    resize = wish.resize if wish.resize is not None else known.resize if known and sized else None
    interpolation = wish.interpolation or (known.interpolation if known else "bilinear")
    classes = wish.classes or model.labels or None
    asked = DataWish(wish.label, classes, model.input_shape, resize, interpolation, MOST_BYTES, wish.seed)
    found = read_examples(Path(wish.data), asked, lambda f: told(0.45 + 0.3 * f, "Reading the data"))
    x = _fitting(found, model)
    places = split_places(found.y, found.part, wish.seed, len(found.classes))
    told(0.8, "Checking that they belong together")
    known_scaling = known.preprocessing if known else None
    calibration = places["calibration"]
    chosen = choose(model, x[calibration], found.y[calibration], found, known_scaling, wish.normalise)
    said = checks(model, x[calibration], found.y[calibration], found, chosen)
    told(0.9, "Keeping it")
    return _keep(wish, home, model, found, x, places, chosen, said, resize, interpolation)


def _fitting(found: Examples, model: Incoming) -> NDArray[Any]:
    """The examples as stored: pictures `(N, H, W)` or `(N, H, W, C)`. Raises where they do not fit the model."""
    if len(found.classes) != model.classes:
        names = ", ".join(found.classes[:4])
        raise TemperError(
            f"The model tells {model.classes:,} classes apart; the data names {len(found.classes):,} ({names:.80}).",
            "Load the data the model was trained for, or name the classes in the model's order (--classes).",
        )
    shape = model.input_shape
    if len(shape) == 1:
        if found.x.ndim != 2 or found.x.shape[1] != shape[0]:
            few = ", ".join(found.features[:5])
            raise TemperError(
                f"The model reads {shape[0]:,} numbers an example and the data has "
                f"{int(np.prod(found.x.shape[1:])):,} ({few:.100}).",
                "Leave out columns the model was not trained on; categories become one column a value.",
            )
        return found.x
    if len(shape) != 3:
        raise TemperError(f"The model reads inputs of {list(shape)}; pictures (C, H, W) or rows (F,) were expected.")
    x = found.x.transpose(0, 2, 3, 1) if found.channels_first else found.x
    if x.ndim == 3 and shape[0] > 1:
        x = np.repeat(x[..., None], shape[0], axis=-1)
    if x.ndim == 4 and x.shape[-1] == 1:
        x = x[..., 0]
    seen = (1, *x.shape[1:]) if x.ndim == 3 else (x.shape[-1], *x.shape[1:3]) if x.ndim == 4 else x.shape[1:]
    if tuple(seen) != tuple(shape):
        raise TemperError(
            f"The model reads pictures of {list(shape)} (channels, height, width); the data holds {list(seen)}.",
            "Give the pictures as files, which are resized, or say the model's input: --input-shape.",
        )
    return x


def _keep(
    wish: Wish, home: Path, model: Incoming, found: Examples, x: NDArray[Any], places: dict[str, NDArray[np.int64]],
    chosen: Normalisation, said: tuple[Check, ...], resize: int | None, interpolation: str,
) -> str:  # fmt: skip
    """Write the folder under another name first, so that nobody ever sees half of one."""
    home.mkdir(parents=True, exist_ok=True)
    _clear(home)
    made = Path(tempfile.mkdtemp(prefix=f"{COMING}{os.getpid()}-", dir=home))
    try:
        save_structure(model.graph, made / "graph.onnx")
        save_file(dict(model.graph.tensors), made / "weights.safetensors")
        splits = {}
        for name, chosen_places in places.items():
            if len(chosen_places):
                with (made / f"{name}.npz").open("wb") as file:
                    np.savez(file, x=x[chosen_places], y=found.y[chosen_places])
                splits[name] = {
                    "file": f"{name}.npz",
                    "n": len(chosen_places),
                    "fingerprint": fingerprint.of_file(made / f"{name}.npz"),
                }
        card = _card(wish, model, found, chosen, said, splits, resize, interpolation)
        for key, written in (("weights", "weights.safetensors"), ("graph", "graph.onnx")):
            card[key] = {"file": written, "fingerprint": fingerprint.of_file(made / written)}
        prints = [card["weights"], card["graph"], splits, card["preprocessing"], card["classes"]]
        slug = re.sub(r"[^a-z0-9]+", "-", Path(wish.model.replace(":", "-")).stem.lower()).strip("-")[:30] or "model"
        name = f"{slug}-{fingerprint.of_json(prints)[:6]}"
        card["added"] = {"model": _shown(wish.model), "data": _shown(wish.data)}
        (made / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _put(made, home / name)
    except OSError as error:
        raise TemperError(
            f"There is no room to keep the model at {home}: {error.strerror}.", "Free some space."
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return name


def _put(made: Path, target: Path) -> None:
    """Give the folder its name; where that is taken by the same pair, its files are replaced one by one.

    So whoever reads the pair meanwhile, or brings it in at the same time, always finds whole files; the card, which
    may bear another title, comes last.
    """
    with suppress(OSError):
        if not target.exists():
            made.rename(target)
            return
    for path in sorted(made.iterdir(), key=lambda path: path.name == "card.json"):
        path.replace(target / path.name)


def _clear(home: Path) -> None:
    """Remove what processes left half-written that were ended together with those that watch over them."""
    for path in home.glob(f"{COMING}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= STALE:
                shutil.rmtree(path, ignore_errors=True)


def _shown(place: str) -> str:
    return readable(place if ":" in place and not Path(place).exists() else Path(place).name, 200)


def _card(
    wish: Wish, model: Incoming, found: Examples, chosen: Normalisation, said: tuple[Check, ...],
    splits: dict[str, Any], resize: int | None, interpolation: str,
) -> dict[str, Any]:  # fmt: skip
    graph, scaling = model.graph, chosen.preprocessing
    kind = "pictures" if len(model.input_shape) == 3 else "table"
    counts = np.bincount(found.y, minlength=len(found.classes)).tolist()
    counted = sum(a.size for n, a in graph.tensors.items() if not n.endswith((".running_mean", ".running_var")))
    return {
        "title": readable(wish.title or _title(wish.model)),
        "summary": f"{_shown(wish.model)}, {model.architecture}, with {_shown(wish.data)}.",
        "task": "binary" if model.classes == 2 else "multi-class",
        "architecture": model.architecture,
        "arguments": {},
        "input_shape": list(model.input_shape),
        "classes": list(found.classes),
        "preprocessing": {
            "scale": scaling.scale,
            "mean": list(scaling.mean),
            "deviation": list(scaling.deviation),
            "name": chosen.name,
            "why": chosen.why,
            "resize": resize,
            "interpolation": interpolation if kind == "pictures" else None,
        },
        "data": {
            "name": _shown(wish.data),
            "modality": kind,
            "licence": "your own data",
            "attribution": "stays on this machine",
            "features": list(found.features),
            "encodings": dict(found.encodings),
            "counts": dict(zip(found.classes, counts, strict=True)),
        },
        "splits": splits,
        "parameters": counted,
        "multiply_adds": graph.multiply_adds(),
        "layers": [{"name": layer.name, "kind": layer.kind} for layer in graph.layers],
        "skipped": [asdict(part) for part in graph.skipped],
        "checks": [asdict(check) for check in said],
        "notes": [*model.notes, *found.notes],
        "seed": wish.seed,
    }


def _title(model: str) -> str:
    stem = readable(Path(model.replace(":", " ")).stem).replace("_", " ").replace("-", " ").strip()
    return stem[:1].upper() + stem[1:] or "Model"
