"""What single layers of a recipe have of their own, in words."""

from __future__ import annotations

from collections.abc import Mapping

from core.figures import words
from core.layers.apart import Setting, apart
from core.recipe import Recipe


def own_words(recipe: Recipe) -> Mapping[str, str]:
    """By layer, such as `sparsity 30 %, weight bits 8`; only layers that have something of their own."""
    return {layer: ", ".join(map(said, found)) for layer, found in apart(recipe).items()}


def said(setting: Setting) -> str:
    """One setting with its value."""
    param, name = setting.param, setting.param.title[:1].lower() + setting.param.title[1:]
    if param.unit == "fraction":
        return f"{name} {words.percent(float(setting.value or 0), 0)}"
    return f"{name} {param.label(setting.value)}"


def counted(layers: int) -> str:
    """How many layers have settings of their own, as a sentence."""
    return f"{layers} layers have settings of their own." if layers > 1 else "One layer has settings of its own."
