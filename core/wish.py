"""What a person says about a model and data of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wish:
    """A model, its data, and what a person says about them; None means: find out.

    `model` is a path or a name such as `torchvision:resnet18`, `data` a path. `normalise` is one of the names in
    `core.checks.NORMALISATIONS` or `mean,..;deviation,..` for values from 0 to 1. `title` is for people.
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


def wish_from(given: dict[str, Any]) -> Wish:
    """A wish from its JSON form."""
    lists = {name: tuple(given[name]) for name in ("input_shape", "classes") if given.get(name) is not None}
    return Wish(**{**given, **lists})
