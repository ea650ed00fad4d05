"""Bring a person's data in for the body of a model at hand: read behind the door, given a last layer, kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.data.archive import shown
from core.data.handle import DataHandle, Groups, Preprocessing, SplitHandle, SplitName
from core.data.intake import DataWish, Examples, read_examples
from core.data.texts import Tokens, packed
from core.errors import TemperError
from core.intake import MOST_BYTES, fitting
from core.intake_card import shown_place
from core.intake_task import OUTPUTS, positive_of
from core.models.samples import load_sample
from core.task import Task, task_of_classes
from core.transfer import OWN, Offer, kind_of, transfer
from core.wish import Wish

NAMES: tuple[SplitName, ...] = ("fit", "calibration", "evaluation")
FIT_SHARE = 0.5  # of a person's examples, where nothing else is said: they are here to be learned from
BYTE = 255.0


def bring_moved(wish: Wish, home: Path, told: Callable[[float, str], None]) -> str:
    """Read the data, move the model called `wish.model` to it and return the pair's name. Raises `TemperError`."""
    told(0.05, "Reading the data")
    model, own = load_sample(wish.model)
    texts = isinstance(own.preprocessing, Tokens)
    asked = DataWish(
        wish.label, wish.classes, model.input_shape, wish.resize, wish.interpolation or "bilinear", None, wish.task,
        texts, wish.text, wish.groups or (), MOST_BYTES, wish.seed, wish.fit_share,
    )  # fmt: skip
    found = read_examples(Path(wish.data), asked, lambda f: told(0.05 + 0.7 * f, "Reading the data"))
    name = shown(Path(shown_place(wish.data)).stem)
    if found.modality != own.modality:
        raise TemperError(
            f"{model.title} reads {kind_of(own.modality)}; '{name}' holds {kind_of(found.modality)}.",
            f"Give {kind_of(own.modality)}.",
        )
    x = found.x if texts else fitting(found, model.input_shape)
    places = found.places(wish.seed, FIT_SHARE if wish.fit_share is None else wish.fit_share)
    told(0.8, "Putting a last layer on")
    with tempfile.TemporaryDirectory(prefix=".coming-", dir=_there(home)) as folder:
        data = _handle(Path(folder), name, found, x, places, _task(found, wish), own)
        offer = Offer(OWN, name, name, " ".join(("Your own data.", *found.notes)), lambda: data)
        return transfer(model, own, offer, wish.seed, wish.title)


def _there(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _task(found: Examples, wish: Wish) -> Task:
    if not found.classes:
        return Task("regression", (), 1, found.target, wish.unit or "", OUTPUTS[:1])
    return task_of_classes(found.classes, positive_of(found.classes, wish.positive))


def _handle(
    folder: Path, name: str, found: Examples, x: NDArray[Any], places: dict[str, NDArray[np.int64]], task: Task,
    own: DataHandle,
) -> DataHandle:  # fmt: skip
    """The data as a handle whose splits lie in `folder`, scaled by the fit split's own mean and deviation."""
    splits = []
    for split in NAMES:
        chosen = places.get(split, np.zeros(0, np.int64))
        if not len(chosen):
            continue
        groups = {f"group_{k}": group.codes[chosen] for k, group in enumerate(found.groups)}
        examples = packed(x[chosen].tolist()) if found.modality == "text" else {"x": x[chosen]}
        with (folder / f"{split}.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **examples, y=found.y[chosen], **groups)
        stated = fingerprint.of_file(folder / f"{split}.npz")
        splits.append(SplitHandle(split, folder / f"{split}.npz", len(chosen), stated))
    scaling = own.preprocessing if found.modality == "text" else _scaling(x, places["fit"], found.modality)
    listed = tuple(Groups(group.title, f"group_{k}", tuple(group.names)) for k, group in enumerate(found.groups))
    values = {column: tuple(how["values"]) for column, how in found.encodings.items() if how["kind"] == "boolean"}
    named = (name, name, found.modality, task, scaling, tuple(splits), "your own data", "stays on this machine")
    return replace(DataHandle(*named), features=tuple(found.features), categories=values, groups=listed)


def _scaling(x: NDArray[Any], fit: NDArray[np.int64], modality: str) -> Preprocessing:
    scale = BYTE if x.dtype == np.uint8 else 1.0
    values = x[fit].astype(np.float64) / scale
    axes: Any = tuple(range(values.ndim - 1)) if values.ndim == 4 else None if modality == "pictures" else 0
    mean, deviation = np.atleast_1d(values.mean(axes)), np.atleast_1d(values.std(axes))
    deviation = np.where(deviation > 1e-12, deviation, 1.0)
    return Preprocessing(scale, tuple(mean.tolist()), tuple(deviation.tolist()))
