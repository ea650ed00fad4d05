"""A model and its data in words: what it reads, what can be pruned and quantized, what was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.figures.words import count, cut, percent
from core.models.handle import ModelHandle, graph_of_model, weights_of
from core.task import Task, task_of_card

FEW = 4  # numbers written out; more are summed up
WIDE = 60  # letters of an order of classes on a button
BYTE = 255.0


@dataclass(frozen=True)
class Alternative:
    """What a check tested and found better: another normalisation or another order of the classes.

    `change` holds the fields of a wish that bring it about, `accuracy` is a fraction of the calibration examples or,
    where numbers are predicted, R2 on these.
    """

    title: str
    change: Mapping[str, Any]
    accuracy: float | None
    numbers: bool = False

    @property
    def said(self) -> str:
        """What it would bring, in brackets behind the title; nothing for a mere choice."""
        if self.accuracy is None:
            return ""
        return f" (R2 {self.accuracy:.2f})" if self.numbers else f" ({percent(self.accuracy)} right)"


@dataclass(frozen=True)
class Parts:
    """What pruning and quantization can change and what they leave alone.

    `layers` has a row a layer, `left` a row a part that is left alone; `share` is the layers' weights as a fraction
    of all numbers.
    """

    layers: pd.DataFrame
    left: pd.DataFrame
    convolutions: int
    linears: int
    embeddings: int
    folded: int
    share: float

    @property
    def said(self) -> str:
        """One sentence."""
        kinds = [
            f"{count(n)} {name if n == 1 else name + 's'}"
            for n, name in (
                (self.convolutions, "convolution"),
                (self.linears, "linear layer"),
                (self.embeddings, "embedding"),
            )
            if n
        ]
        listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}" if kinds[1:] else kinds[0]
        norms = "1 batch-norm is" if self.folded == 1 else f"{count(self.folded)} batch-norms are"
        folded = f"; {norms} folded into them" if self.folded else ""
        return (
            f"{listed} can be pruned and quantized: their weights are {100 * self.share:.1f} % of all "
            f"numbers{folded}."
        )


def parts(model: ModelHandle) -> Parts:
    """See `Parts`. Raises `TemperError` where the model's files cannot be read."""
    graph, tensors = graph_of_model(model), weights_of(model)
    layers = graph.layers
    shapes = [tuple(tensors[layer.weight].shape) for layer in layers]
    sizes = [int(tensors[layer.weight].numel()) for layer in layers]
    total = sum(int(t.numel()) for t in tensors.values())
    table = pd.DataFrame(
        {
            "Layer": [layer.name for layer in layers],
            "Kind": [layer.kind for layer in layers],
            "Weights": [" × ".join(map(str, shape)) for shape in shapes],
            "Numbers": sizes,
            "Batch-norm folded in": [layer.norm or "none" for layer in layers],
        }
    )
    left = pd.DataFrame(
        [(part.name, part.what, part.parameters) for part in graph.skipped], columns=["Part", "What", "Numbers"]
    )
    kinds = [layer.kind for layer in layers]
    return Parts(
        table, left, kinds.count("convolution"), kinds.count("linear"), kinds.count("embedding"),
        sum(layer.norm is not None for layer in layers), sum(sizes) / max(total, 1),
    )  # fmt: skip


def reads(card: Mapping[str, Any]) -> str:
    """What the network reads and gives, in a sentence."""
    shape, task = card["input_shape"], task_of_card(card)
    if "tokenizer" in card["preprocessing"]:
        what = f"texts as up to {count(shape[0])} word pieces"
    elif len(shape) == 1:
        what = f"rows of {count(shape[0])} numbers"
    else:
        channels, height, width = shape
        colour = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
        what = f"{colour} pictures of {height} × {width} pixels"
    if task.decides:
        return f"Reads {what} and tells {count(len(task.classes))} classes apart."
    sure = " and how sure it is" if task.states_intervals else ""
    return f"Reads {what} and predicts {said_target(task)}{sure}."


def said_target(task: Task) -> str:
    """What is predicted, with its unit: `price in US dollars`."""
    return f"{task.target} in {task.unit}" if task.unit else task.target


def said_task(card: Mapping[str, Any]) -> str:
    """What the model is asked for, in a few words."""
    task = task_of_card(card)
    if task.kind == "regression":
        return f"predicts {said_target(task)}"
    if task.kind == "binary":
        return f"{' or '.join(task.classes)}; looked for is {task.classes[task.positive]}"
    return f"one of {count(len(task.classes))} classes"


def prepares(card: Mapping[str, Any]) -> list[str]:
    """How stored values or texts become what the network reads, a sentence a step."""
    scaling = card["preprocessing"]
    if "tokenizer" in scaling:
        return [
            f"Each text is cut into pieces by {scaling['tokenizer']['file']}; the ids of the first "
            f"{count(scaling['length'])} are read, shorter texts are filled up."
        ]
    pictures = card["data"]["modality"] == "pictures"
    said = []
    if scaling.get("resize"):
        side = card["input_shape"][-1]
        how = f" ({scaling['interpolation']})" if scaling.get("interpolation") else ""
        said.append(f"Each picture's shorter side was resized to {scaling['resize']} pixels{how}, then the middle "
                    f"{side} × {side} cut out.")  # fmt: skip
    said.append(_scaled(scaling, pictures))
    if scaling.get("name"):
        why = f": {scaling['why']}" if scaling.get("why") else ""
        said.append(f"This normalisation is called '{scaling['name']}'{why}.")
    coded = card["data"].get("encodings") or {}
    words = [name for name, how in coded.items() if how.get("kind") != "number"]
    if words:
        columns = "1 column" if len(words) == 1 else f"{count(len(words))} columns"
        said.append(f"{columns} of words became numbers: {', '.join(words)[:120]}.")
    return said


def _scaled(scaling: Mapping[str, Any], pictures: bool) -> str:
    mean, deviation, scale = scaling["mean"], scaling["deviation"], scaling["scale"]
    each = "channel" if pictures else "column"
    first = "Values are divided by 255" if scale == BYTE else f"Values are divided by {scale:g}" if scale != 1 else ""
    if all(v == 0 for v in mean) and all(v == 1 for v in deviation):
        return f"{first}, so that they lie between 0 and 1." if first else "Values are read as they are stored."
    if len(mean) <= FEW:
        of = f"the mean of each {each} ({_list(mean)})" if len(mean) > 1 else f"the mean ({_list(mean)})"
        by = f"its deviation ({_list(deviation)})" if len(mean) > 1 else f"the deviation ({_list(deviation)})"
    else:
        of, by = f"each {each}'s mean", "its deviation"
    then = f"{first}; then {of} is taken off" if first else f"{of[0].upper()}{of[1:]} is taken off"
    return f"{then} and the rest divided by {by}."


def _list(values: list[float]) -> str:
    return ", ".join(f"{v:.3g}" for v in values)


def alternatives(card: Mapping[str, Any]) -> tuple[Alternative, ...]:
    """What the checks' warnings offer.

    Another order of classes is offered only where labels are names: numbers stand for places, which no name moves.
    """
    named = bool(card.get("added")) and not card["added"]["data"].endswith(".npz")
    found, numbers = [], not task_of_card(card).decides
    for check in card.get("checks", ()):
        for offer in check.get("offers", ()):
            change = {k: tuple(v) if isinstance(v, list) else v for k, v in offer["change"].items()}
            if "normalise" in change:
                title = f"Use normalisation '{change['normalise']}'"
                found.append(Alternative(title, change, offer["accuracy"], numbers))
            elif "target_scale" in change:
                mean, _, deviation = str(change["target_scale"]).partition(";")
                title = f"Put the target's scale back: output × {deviation} + {mean}"
                found.append(Alternative(title, change, offer["accuracy"], numbers))
            elif named or all(name.isdigit() for name in card["classes"]):
                order = cut(", ".join(change["classes"]), WIDE)
                found.append(Alternative(f"Use the order {order}", change, offer["accuracy"]))
    return tuple(found)


def other_class(card: Mapping[str, Any]) -> tuple[Alternative, ...]:
    """Of two classes the one that is not looked for, as it could be."""
    task = task_of_card(card)
    if task.kind != "binary":
        return ()
    other = task.classes[1 - task.positive]
    return (Alternative(f"Look for {cut(other, WIDE)} instead", {"positive": other}, None),)


def warned(card: Mapping[str, Any]) -> int:
    """How many checks ask for a look."""
    return sum(check.get("ok") is False for check in card.get("checks", ()))
