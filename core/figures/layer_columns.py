"""What is measured or foretold of each layer as columns of the map of layers."""

from __future__ import annotations

from collections.abc import Mapping

from core.deploy.layer_times import LayerTimes, Times
from core.figures import said, words
from core.figures.layer_map import Harm
from core.figures.sensitivity import leading, loss, moved, shown_unit
from core.layers.sensitivity import Sensitivity


def time_columns(times: Times) -> dict[str, Harm]:
    """The tempered network's shares under `time`, the original's for the table."""
    return {
        "time": _shares(times.tempered, "Time share"),
        "time-original": _shares(times.original, "Time share, original"),
    }


def _shares(times: LayerTimes, title: str) -> Harm:
    values = {name: times.share(name) for name in times.layers}
    texts = {name: f"{words.percent(value)}, {_short(times.layers[name])}" for name, value in values.items()}
    rest = words.percent(times.rest / times.total if times.total else 0.0, 0)
    return Harm(
        title, values, texts, "takes longest, {}",
        f" of the {_short(times.total)} of one inference, {rest} of which belongs to no layer",
    )  # fmt: skip


def _short(microseconds: float) -> str:
    if microseconds >= 1_000:
        return words.milliseconds(microseconds / 1_000)
    return f"{microseconds:.{1 if microseconds < 100 else 0}f}{words.SPACE}µs"


def lost_column(found: Sensitivity) -> Harm:
    """What the recipe's treatment of each layer's weights costs by itself."""
    if not found.effects:
        return Harm("Lost in this recipe", {}, {})
    name, unit = said.title(leading(found)), shown_unit(found)
    return Harm(
        f"{name}, layer by itself",
        {e.layer: loss(found, e) for e in found.effects},
        {e.layer: f"{moved(found, e)}{words.SPACE}{unit}".strip() for e in found.effects},
        "as this recipe treats it costs most by itself, {}", f" of {said.name(leading(found))}",
    )  # fmt: skip


def foretold_column(values: Mapping[str, float]) -> Harm:
    """What the Fisher information foretells of that; layers that nothing changes are left out."""
    some = {name: value for name, value in values.items() if value > 0}
    return Harm(
        "Foretold to be lost", some, {name: words.amount(value, "nats") for name, value in some.items()},
        "is foretold to cost most by itself, {}",
    )  # fmt: skip
