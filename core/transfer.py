"""Move a model to other classes or other data: its trained body, a new last layer, and the new data as one pair.

The pair is kept like any model of a person's own, so every page, recipe and export works on it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from core import fingerprint
from core.checks import Check
from core.data.borrowed import FIELD, SIDE, by_group, written_digits
from core.data.handle import DataHandle, Preprocessing, load_split, split_for_fitting
from core.data.texts import Tokens
from core.errors import TemperError
from core.intake_card import RUNNING, TOKENIZER
from core.models.graph import Graph, save_structure
from core.models.handle import ModelHandle, graph_of_model
from core.models.rehead import Reheaded, rehead
from core.models.samples import load_sample, own_home, own_ids, read_card, sample_ids
from core.task import Task
from core.transfer_seen import remarks
from core.types import Labels

GROUPS_LISTED = 12  # of one column
DIGITS = "Written digits"  # the title that these bear
OWN = "own"  # the key of an offer of a person's own data
LONGEST = 60  # letters of a title
FITTED = "The original was fitted on these too: it specialises on them, and they are no new territory."


@dataclass(frozen=True)
class Offer:
    """Data that a model can be moved to: `key` names it, `said` is what to know, `data` fetches it."""

    key: str
    title: str
    short: str
    said: str
    data: Callable[[], DataHandle]


def offers(model: ModelHandle, data: DataHandle) -> tuple[Offer, ...]:
    """What is at hand for a model besides its own data: the same kind of input, of the same size."""
    found = []
    if data.modality == "pictures" and model.input_shape == (1, SIDE, SIDE) and data.title != DIGITS:
        said = f"1,797 digits that scikit-learn carries, enlarged from 8 x 8 to {FIELD} x {FIELD} pixels."
        found.append(Offer("digits", DIGITS, DIGITS.lower(), said, written_digits))
    for group in data.groups:
        for code, name in enumerate(group.names[:GROUPS_LISTED]):
            title = f"{data.title}: {name} alone"
            fetch = partial(by_group, data, group.title, code)
            found.append(Offer(f"group {group.title} {code}", title, name, f"By {group.title}. {FITTED}", fetch))
    for other in (*own_ids(), *sample_ids()):
        try:
            its_model, its_data = load_sample(other)
            card = read_card(other)
        except TemperError:
            continue
        same_size = data.modality == "text" or its_model.input_shape == model.input_shape
        same_data = [s.identity for s in its_data.splits] == [s.identity for s in data.splits]
        if its_data.modality != data.modality or not same_size or same_data or "transferred" in card:
            continue  # what was moved holds data that is listed already
        said = f"The data of {card['title']}. {_columns(data, its_data)}".strip()
        found.append(Offer(f"data {other}", its_data.title, its_data.title, said, partial(_data_of, other)))
    return tuple({offer.title: offer for offer in reversed(found)}.values())[::-1]


def _data_of(name: str) -> DataHandle:
    return load_sample(name)[1]


def _columns(data: DataHandle, other: DataHandle) -> str:
    if data.modality != "table" or data.features == other.features:
        return ""
    return "Its columns are others than the body was trained on: only the number of them is the same."


def pair_of(model: ModelHandle, offer: Offer, seed: int = 0) -> str | None:
    """The name of the pair of a model and an offer, where it was made. Raises `TemperError` where data is damaged."""
    found = _name(model, offer.data(), seed)
    return found if found in own_ids() else None


def _name(model: ModelHandle, data: DataHandle, seed: int) -> str:
    prints = [model.fingerprint, data.fingerprint, list(data.task.classes), data.task.to_dict(), seed]
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model.id[:16]}-for-{data.id}".lower()).strip("-")[:40]
    return f"{slug}-{fingerprint.of_json(prints)[:6]}"


def check_fit(title: str, y: Labels, task: Task) -> None:
    """Refuse labels `(N,)` that no last layer can learn from. Raises `TemperError`, saying which it is."""
    if len(y) < 2:
        few = "one example" if len(y) else "no example"
        raise TemperError(
            f"'{title}' has {few} to learn from, and two are the least.", "Set a larger share aside to train on."
        )
    if not task.decides:
        if len(np.unique(y)) < 2:
            raise TemperError(f"All labels of '{title}' to learn from are {y[0]:g}: there is nothing to learn.")
        return
    if len(task.classes) > len(y):
        raise TemperError(
            f"'{title}' has {len(task.classes)} classes and only {len(y)} examples to learn them from.",
            "Give an example of each class at least, or leave classes out.",
        )
    missing = [name for code, name in enumerate(task.classes) if not (y == code).any()]
    if missing:
        few = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
        raise TemperError(
            f"No example of {few:.100} is in the fit split of '{title}', so nobody could learn it.",
            "Set a larger share aside to train on, or leave the class out.",
        )


def as_body_reads(model: ModelHandle, own: DataHandle, new: DataHandle) -> tuple[DataHandle, str]:
    """The new data prepared as the body was trained, and a sentence on it. `own` is what the body was trained on.

    Raises `TemperError` where it reads something else, or inputs of another size.
    """
    if new.modality != own.modality:
        raise TemperError(
            f"{model.title} reads {kind_of(own.modality)}; '{new.title}' holds {kind_of(new.modality)}.",
            f"Choose {kind_of(own.modality)}.",
        )
    if isinstance(own.preprocessing, Tokens):
        return replace(new, preprocessing=own.preprocessing), "Texts are cut into pieces by the body's own tokenizer."
    fitting = split_for_fitting(new, "fit")
    shape = fitting.inputs.shape[1:]
    if shape != model.input_shape:
        raise TemperError(
            f"{model.title} reads inputs of {_size(model.input_shape)}; those of '{new.title}' are {_size(shape)}.",
            "Load the data anew, so that its pictures are resized, or choose another model."
            if new.modality == "pictures"
            else f"Choose data of {model.input_shape[0]:,} columns, or another model.",
        )
    alike = new.modality == "pictures" or new.features == own.features
    stored = load_split(own, "calibration").x.dtype
    if alike and stored == fitting.x.dtype:
        return replace(new, preprocessing=own.preprocessing), "Values are scaled as the body was trained with."
    why = "its columns are others" if not alike else "its values are stored otherwise"
    return new, f"Values are scaled as this data has it, and not as the body was trained with, since {why}."


def kind_of(modality: str) -> str:
    """Examples of a modality, in words."""
    return {"pictures": "pictures", "text": "texts", "table": "rows of a table"}[modality]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape)


@dataclass(frozen=True)
class Moved:
    """A body with its new last layer, and what a card says of where it comes from."""

    made: Reheaded
    graph: Graph
    provenance: dict[str, Any]
    checks: tuple[Check, ...]


def moved(model: ModelHandle, old: Task, new: Task, y: Labels, seed: int, reads: str) -> Moved:
    """Put a last layer for `new` on a model's body; labels `y` `(N,)` are those that may be learned from.

    Raises `TemperError` as `rehead` and `check_fit`.
    """
    scale = (0.0, 1.0) if new.decides else (float(np.mean(y)), float(np.std(y)) or 1.0)
    made = rehead(graph_of_model(model), old, new, seed, scale)
    provenance = {
        "from": model.id,
        "title": model.title,
        "fingerprint": model.fingerprint,
        "layer": made.head.weight.removesuffix(".weight"),
        "kept": list(made.kept),
        "drawn": list(made.drawn),
        "seed": seed,
    }
    what = "came along: the classes are known to it" if made.kept else f"was drawn anew from seed {seed}"
    if not made.drawn and not made.kept:
        what = "came along"
    layer = provenance["layer"]
    said = Check(
        "Last layer", None, f"{layer} {what}; all before it is {model.title} ({model.fingerprint}) as it was"
    )
    return Moved(made, made.graph, provenance, (said, Check("Preprocessing", None, reads.removesuffix("."))))


def transfer(model: ModelHandle, own: DataHandle, offer: Offer, seed: int = 0, title: str | None = None) -> str:
    """Keep a model's body with a new last layer, paired with the data of an offer; returns the pair's name.

    The same again gives the same name. Raises `TemperError` where data and body do not go together, where the data
    cannot be learned from, or where nothing can be kept.
    """
    home = own_home()
    if home is None:
        raise TemperError("TEMPER_HOME is empty, so there is nowhere to keep a model.", "Name a folder in it.")
    named = offer.data()
    name = _name(model, named, seed)
    if name in own_ids():
        return name
    new, reads = as_body_reads(model, own, named)
    fitted = split_for_fitting(new, "fit")
    check_fit(new.title, fitted.y, new.task)
    found = moved(model, own.task, new.task, fitted.y, seed, reads)

    def write(made: Path) -> dict[str, Any]:
        card = _written(made, model, own, new, offer, found)
        card["title"] = (title or card["title"])[:LONGEST]
        return card

    keep_whole(home, name, write)
    return name


def keep_whole(home: Path, name: str, write: Callable[[Path], dict[str, Any]]) -> None:
    """Write a folder with its card, whole or not at all. Raises `TemperError` where there is no room."""
    made: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".coming-{os.getpid()}-", dir=home))
        card = write(made)
        (made / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if not (home / name).exists():
            made.rename(home / name)
    except OSError as error:
        raise TemperError(
            f"There is no room to keep the model at {home}: {error.strerror}.", "Free some space."
        ) from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def own_pairs(model: ModelHandle) -> dict[str, str]:
    """The pairs that a person made of this model's body and data of their own: titles by name, the latest first."""
    found = {}
    for name in own_ids():
        card = read_card(name)
        stated = card.get("transferred", {})
        if (stated.get("fingerprint"), stated.get("offer")) == (model.fingerprint, OWN) and "pair" not in stated:
            found[name] = str(card["title"])
    return found


def title_of(model: str, data: str) -> str:
    """What a model is called that was moved to other data."""
    return f"{model.partition(' for ')[0]} for {data}"[:LONGEST]


def _written(
    made: Path, model: ModelHandle, own: DataHandle, new: DataHandle, offer: Offer, found: Moved
) -> dict[str, Any]:
    """Write weights, graph and splits into a folder; returns the card."""
    graph = found.graph
    save_structure(graph, made / "graph.onnx")
    save_file({name: np.ascontiguousarray(array) for name, array in graph.tensors.items()},
              made / "weights.safetensors")  # fmt: skip
    splits = {}
    for split in new.splits:
        shutil.copyfile(split.path, made / f"{split.name}.npz")
        splits[split.name] = {"file": f"{split.name}.npz", "n": split.n, "fingerprint": split.fingerprint}
    source = read_card(new.id)["data"] if new.id in (*own_ids(), *sample_ids()) else {}
    kept_groups = {g.title: {"array": g.array, "names": list(g.names)} for g in new.groups}
    card: dict[str, Any] = {
        "title": title_of(model.title, offer.short),
        "summary": f"The body of {model.title} with a last layer for {new.title}.",
        "task": new.task.to_dict(),
        "architecture": model.architecture,
        "arguments": {},
        "input_shape": list(model.input_shape),
        "classes": list(new.task.classes),
        "preprocessing": _preparing(made, new),
        "data": {
            "name": new.title,
            "modality": new.modality,
            "licence": new.licence,
            "attribution": new.attribution,
            "features": list(new.features),
            "encodings": source.get("encodings", {}),
            "categories": {name: list(values) for name, values in new.categories.items()},
            "groups": kept_groups,
        },
        "splits": splits,
        "parameters": sum(a.size for name, a in graph.tensors.items() if not name.endswith(RUNNING)),
        "multiply_adds": graph.multiply_adds(),
        "layers": [{"name": layer.name, "kind": layer.kind} for layer in graph.layers],
        "skipped": [asdict(part) for part in graph.skipped],
        "checks": [asdict(check) for check in found.checks],
        "notes": [offer.said, *(remarks(model.title, own, new) if offer.key == OWN else ())],
        "seed": found.provenance["seed"],
        "transferred": found.provenance | {"data": new.fingerprint, "offer": offer.key},
    }
    for key, file in (("weights", "weights.safetensors"), ("graph", "graph.onnx")):
        card[key] = {"file": file, "fingerprint": fingerprint.of_file(made / file)}
    return card


def _preparing(made: Path, data: DataHandle) -> dict[str, Any]:
    scaling = data.preprocessing
    if isinstance(scaling, Preprocessing):
        return {"scale": scaling.scale, "mean": list(scaling.mean), "deviation": list(scaling.deviation)}
    (made / TOKENIZER).write_bytes(scaling.content())
    return {"tokenizer": {"file": TOKENIZER, "fingerprint": scaling.stated}, "length": scaling.length}


def came_from(name: str) -> dict[str, Any] | None:
    """Where a model's body came from, as its card states it; None for one that was not moved."""
    found = read_card(name).get("transferred")
    return found if isinstance(found, dict) and isinstance(found.get("from"), str) else None
