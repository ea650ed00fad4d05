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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from core import fingerprint
from core.checks import Check, Normalisation, checks, choose
from core.checks_numbers import checks_of_numbers
from core.data.intake import DataWish, Examples, read_examples
from core.data.texts import Tokens, packed
from core.errors import TemperError
from core.intake_card import TOKENIZER, card_of, shown_place
from core.intake_task import checked_ids, meant, tokens_of
from core.models.compare import Incoming
from core.models.graph import save_structure
from core.models.intake import ModelWish, read_model
from core.task import Task
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
    known, tokens = model.reading, tokens_of(wish, model)
    sized = len(model.input_shape) == 3 and known is not None and known.input_shape == model.input_shape
    resize = wish.resize if wish.resize is not None else known.resize if known and sized else None
    interpolation = wish.interpolation or (known.interpolation if known else "bilinear")
    asked = DataWish(
        wish.label, wish.classes or model.labels or None, model.input_shape, resize, interpolation, model.classes,
        wish.task, tokens is not None, wish.text, wish.groups or (), MOST_BYTES, wish.seed,
        wish.fit_share,
    )  # fmt: skip
    found = read_examples(Path(wish.data), asked, lambda f: told(0.45 + 0.3 * f, "Reading the data"))
    model, task = meant(model, found, wish)
    x = found.x if tokens is not None else fitting(found, model.input_shape)
    places = found.places(wish.seed, wish.fit_share)
    told(0.8, "Checking that they belong together")
    calibration = places["calibration"]
    seen, truths = x[calibration], found.y[calibration]
    if tokens is not None:
        chosen = Normalisation("token ids", tokens, "as the tokenizer says")
        more: tuple[Check, ...] = (checked_ids(tokens, x, model),)
    else:
        chosen = choose(model, seen, truths, found, known.preprocessing if known else None, wish.normalise)
        more = ()
    if task.decides:
        said = checks(model, seen, truths, found, chosen)
    else:
        said = checks_of_numbers(model, seen, truths, found, chosen, task.unit)
    told(0.9, "Keeping it")
    brought = _Brought(wish, model, task, found, x, places, chosen, (*said, *more), resize, interpolation)
    return _keep(brought, home)


@dataclass(frozen=True)
class _Brought:
    """All that is known of a pair before it is written."""

    wish: Wish
    model: Incoming
    task: Task
    found: Examples
    x: NDArray[Any]
    places: dict[str, NDArray[np.int64]]
    chosen: Normalisation
    said: tuple[Check, ...]
    resize: int | None
    interpolation: str

    def arrays(self, places: NDArray[np.int64]) -> dict[str, Any]:
        """What a split's file holds."""
        groups = {f"group_{k}": group.codes[places] for k, group in enumerate(self.found.groups)}
        chosen = self.x[places]
        examples = packed(chosen.tolist()) if self.found.modality == "text" else {"x": chosen}
        return {**examples, "y": self.found.y[places], **groups}

    def card(self, splits: dict[str, Any]) -> dict[str, Any]:
        """See `card_of`."""
        return card_of(
            self.wish, self.model, self.task, self.found, self.chosen, self.said, splits, self.resize,
            self.interpolation,
        )  # fmt: skip


def fitting(found: Examples, shape: tuple[int, ...]) -> NDArray[Any]:
    """The examples as stored: pictures `(N, H, W)` or `(N, H, W, C)`. Raises where a model reads no such."""
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


def _keep(brought: _Brought, home: Path) -> str:
    """Write the folder under another name first, so that nobody ever sees half of one."""
    wish, model = brought.wish, brought.model
    home.mkdir(parents=True, exist_ok=True)
    _clear(home)
    made = Path(tempfile.mkdtemp(prefix=f"{COMING}{os.getpid()}-", dir=home))
    try:
        save_structure(model.graph, made / "graph.onnx")
        save_file(dict(model.graph.tensors), made / "weights.safetensors")
        splits = {}
        for name, chosen_places in brought.places.items():
            if len(chosen_places):
                with (made / f"{name}.npz").open("wb") as file:
                    np.savez(file, **brought.arrays(chosen_places))
                splits[name] = {
                    "file": f"{name}.npz",
                    "n": len(chosen_places),
                    "fingerprint": fingerprint.of_file(made / f"{name}.npz"),
                }
        if isinstance(brought.chosen.preprocessing, Tokens):
            shutil.copyfile(brought.chosen.preprocessing.path, made / TOKENIZER)
        card = brought.card(splits)
        for key, written in (("weights", "weights.safetensors"), ("graph", "graph.onnx")):
            card[key] = {"file": written, "fingerprint": fingerprint.of_file(made / written)}
        prints = [card["weights"], card["graph"], splits, card["preprocessing"], card["classes"], card["task"],
                  card["data"]["groups"]]  # fmt: skip
        slug = re.sub(r"[^a-z0-9]+", "-", Path(wish.model.replace(":", "-")).stem.lower()).strip("-")[:30] or "model"
        name = f"{slug}-{fingerprint.of_json(prints)[:6]}"
        card["added"] = {"model": shown_place(wish.model), "data": shown_place(wish.data)}
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
