"""What a person says about a model and data of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Wish:
    """A model, its data, and what a person says about them; None means: find out.

    `model` is a path or a name such as `torchvision:resnet18`, `data` a path. `normalise` is one of the names in
    `core.checks.NORMALISATIONS` or `mean,..;deviation,..` for values from 0 to 1. `title` is for people.

    `task` is `classes` or `numbers`. `positive` is the class that is looked for where there are two, `unit` that of
    numbers; `target_scale`, as `mean;deviation`, is what they were scaled by in training. `text` is the column of
    texts in a table, `tokenizer` the path of their `tokenizer.json`; `groups` are columns that sort examples.
    `fit_share`, from 0 to 0.8, is the share of the examples to train on; None sets a fifth aside where there are more
    than 3,000, or keeps what the data's own split says. With `body` the `model` is the name of one at hand, whose
    trained body gets a new last layer for this data.
    """

    model: str
    data: str
    architecture: str | None = None
    input_shape: tuple[int, ...] | None = None
    label: str | None = None
    classes: tuple[str, ...] | None = None
    normalise: str | None = None
    resize: int | None = None
    interpolation: str | None = None
    download: bool = False
    seed: int = 0
    title: str | None = None
    task: Literal["classes", "numbers"] | None = None
    positive: str | None = None
    unit: str | None = None
    target_scale: str | None = None
    text: str | None = None
    tokenizer: str | None = None
    groups: tuple[str, ...] | None = None
    fit_share: float | None = None
    body: bool = False


def wish_from(given: dict[str, Any]) -> Wish:
    """A wish from its JSON form."""
    lists = {name: tuple(given[name]) for name in ("input_shape", "classes", "groups") if given.get(name) is not None}
    return Wish(**{**given, **lists})
