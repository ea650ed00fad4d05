"""The samples that travel with Temper: a folder each with weights, card, data and training script."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.data.handle import DataHandle, Preprocessing, SplitHandle
from core.errors import TemperError
from core.models.handle import ModelHandle

SHIPPED = Path(__file__).resolve().parents[2] / "sample_models"
DEFAULT = "fashion-resnet"


def folder() -> Path:
    """Where the samples lie; `TEMPER_SAMPLES` names another folder."""
    return Path(os.environ.get("TEMPER_SAMPLES") or SHIPPED)


def sample_ids() -> tuple[str, ...]:
    """Names of the samples that have a card, the default first."""
    found = sorted(path.parent.name for path in folder().glob("*/card.json"))
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, "fashion" not in name, name)))


def read_card(sample: str) -> dict[str, Any]:
    """A sample's card. Raises `TemperError` for an unknown name or an unreadable card."""
    if sample not in sample_ids():
        listed = ", ".join(sample_ids()) or f"none in {folder()}"
        raise TemperError(f"No model is called {sample!r}; there are: {listed}.")
    path = folder() / sample / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TemperError(f"The card of '{sample}' ({path}) cannot be read: {error}.") from error
    if not isinstance(card, dict):
        raise TemperError(f"The card of '{sample}' must be a JSON object; got {type(card).__name__}.")
    return card


def titles() -> dict[str, str]:
    """Each sample's name for people, by id; a sample whose card cannot be read goes by its id."""
    found = {}
    for sample in sample_ids():
        try:
            found[sample] = str(read_card(sample).get("title") or sample)
        except TemperError:
            found[sample] = sample
    return found


def load_sample(sample: str) -> tuple[ModelHandle, DataHandle]:
    """The handles of a sample's model and data. Raises `TemperError`; arrays are read later."""
    card = read_card(sample)
    path = folder() / sample / "card.json"
    return _handles(sample, path.parent, path.stat().st_mtime_ns, json.dumps(card))


@lru_cache(maxsize=32)
def _handles(sample: str, home: Path, _changed: int, text: str) -> tuple[ModelHandle, DataHandle]:
    card = json.loads(text)
    try:
        scaling, data = card["preprocessing"], card["data"]
        model = ModelHandle(
            id=sample,
            title=card["title"],
            architecture=card["architecture"],
            arguments=tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in card["arguments"].items()),
            input_shape=tuple(card["input_shape"]),
            classes=tuple(card["classes"]),
            weights=home / card["weights"]["file"],
            weights_fingerprint=card["weights"]["fingerprint"],
            graph=home / card["graph"]["file"],
            graph_fingerprint=card["graph"]["fingerprint"],
            summary=card["summary"],
        )
        handle = DataHandle(
            id=sample,
            title=data["name"],
            modality=data["modality"],
            classes=tuple(card["classes"]),
            preprocessing=Preprocessing(scaling["scale"], tuple(scaling["mean"]), tuple(scaling["deviation"])),
            splits=tuple(
                SplitHandle(name, home / s["file"], s["n"], s["fingerprint"]) for name, s in card["splits"].items()
            ),
            licence=data["licence"],
            attribution=data["attribution"],
            features=tuple(data.get("features", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise TemperError(
            f"The card of '{sample}' lacks or misstates {error}; see another sample's card.json."
        ) from error
    return model, handle
