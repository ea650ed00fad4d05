"""The models at hand, a folder each: samples that travel with Temper, and a person's own beside their runs."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.data.handle import DataHandle, Groups, Preprocessing, SplitHandle
from core.data.texts import Tokens
from core.errors import TemperError
from core.home import home
from core.models.handle import ModelHandle
from core.task import task_of_card

SHIPPED = Path(__file__).resolve().parents[2] / "sample_models"
DEFAULT = "fashion-resnet"


def folder() -> Path:
    """Where the samples lie; `TEMPER_SAMPLES` names another folder."""
    return Path(os.environ.get("TEMPER_SAMPLES") or SHIPPED)


def sample_ids() -> tuple[str, ...]:
    """Names of the samples that have a card, the default first."""
    found = sorted(path.parent.name for path in folder().glob("*/card.json"))
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, "fashion" not in name, name)))


def own_home() -> Path | None:
    """Where a person's own models lie, or None where nothing is to be kept."""
    place = home()
    return place / "models" if place is not None else None


def own_ids() -> tuple[str, ...]:
    """Names of a person's own models, the latest first."""
    place = own_home()
    if place is None:
        return ()
    cards = sorted(place.glob("[!.]*/card.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return tuple(path.parent.name for path in cards)


def forget(name: str) -> None:
    """Remove one of a person's own models. Raises `TemperError` where there is none of this name."""
    if name not in own_ids():
        raise TemperError(f"No model of your own is called {name!r:.80}.")
    shutil.rmtree(_place(name), ignore_errors=True)


def rename(name: str, title: str) -> None:
    """Give one of a person's own models another title. Raises `TemperError`."""
    title = " ".join(title.split())[:60]
    if name not in own_ids():
        raise TemperError(f"No model of your own is called {name!r:.80}.")
    if not title:
        raise TemperError("A title needs a letter at least.")
    path = _place(name) / "card.json"
    new = path.with_name(".card.json")  # written whole under another name first: nobody ever reads half a card
    try:
        new.write_text(json.dumps({**read_card(name), "title": title}, indent=2, ensure_ascii=False) + "\n", "utf-8")
        new.replace(path)
    except OSError as error:
        raise TemperError(f"The title cannot be kept: {error.strerror}.") from error


def _place(name: str) -> Path:
    own = own_home()
    return own / name if own is not None and name in own_ids() else folder() / name


def read_card(sample: str) -> dict[str, Any]:
    """A sample's card. Raises `TemperError` for an unknown name or an unreadable card."""
    if sample not in (*sample_ids(), *own_ids()):
        listed = ", ".join((*sample_ids(), *own_ids())) or f"none in {folder()}"
        raise TemperError(f"No model is called {sample!r}; there are: {listed}.")
    path = _place(sample) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TemperError(f"The card of '{sample}' ({path}) cannot be read: {error}.") from error
    if not isinstance(card, dict):
        raise TemperError(f"The card of '{sample}' must be a JSON object; got {type(card).__name__}.")
    return card


def titles() -> dict[str, str]:
    """Each model's name for people, by id, those that share one told apart; a card that cannot be read: the id."""
    found = {}
    for sample in (*sample_ids(), *own_ids()):
        try:
            found[sample] = str(read_card(sample).get("title") or sample)
        except TemperError:
            found[sample] = sample
    shared = [title for title, times in Counter(found.values()).items() if times > 1]
    return {name: f"{title} · {name[-6:]}" if title in shared else title for name, title in found.items()}


def load_sample(sample: str) -> tuple[ModelHandle, DataHandle]:
    """The handles of a model and its data. Raises `TemperError`; arrays are read later."""
    card = read_card(sample)
    path = _place(sample) / "card.json"
    return _handles(sample, path.parent, path.stat().st_mtime_ns, json.dumps(card))


def _preparing(stated: dict[str, Any], place: Path) -> Preprocessing | Tokens:
    if "tokenizer" in stated:
        file = stated["tokenizer"]
        return Tokens(place / file["file"], file["fingerprint"], int(stated["length"]))
    return Preprocessing(stated["scale"], tuple(stated["mean"]), tuple(stated["deviation"]))


@lru_cache(maxsize=32)
def _handles(sample: str, place: Path, _changed: int, text: str) -> tuple[ModelHandle, DataHandle]:
    card = json.loads(text)
    try:
        data = card["data"]
        model = ModelHandle(
            id=sample,
            title=card["title"],
            architecture=card["architecture"],
            arguments=tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in card["arguments"].items()),
            input_shape=tuple(card["input_shape"]),
            classes=tuple(card["classes"]),
            weights=place / card["weights"]["file"],
            weights_fingerprint=card["weights"]["fingerprint"],
            graph=place / card["graph"]["file"],
            graph_fingerprint=card["graph"]["fingerprint"],
            summary=card["summary"],
            own=place != folder() / sample,
        )
        handle = DataHandle(
            id=sample,
            title=data["name"],
            modality=data["modality"],
            task=task_of_card(card),
            preprocessing=_preparing(card["preprocessing"], place),
            splits=tuple(
                SplitHandle(name, place / s["file"], s["n"], s["fingerprint"]) for name, s in card["splits"].items()
            ),
            licence=data["licence"],
            attribution=data["attribution"],
            features=tuple(data.get("features", ())),
            categories={name: tuple(values) for name, values in data.get("categories", {}).items()},
            groups=tuple(
                Groups(title, of["array"], tuple(of["names"])) for title, of in data.get("groups", {}).items()
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise TemperError(
            f"The card of '{sample}' lacks or misstates {error}; see another sample's card.json."
        ) from error
    return model, handle
