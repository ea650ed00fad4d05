"""What one layer has of its own in the recipe: its sliders, a switch that protects it, the way back to the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.figures.apart import counted
from core.layers import apart
from core.layers.apart import Setting
from core.models.layers import Layer
from core.recipe import Recipe
from core.registry import Value, method
from ui import controls, show
from ui.state import Sitting, link_parameters

REST = {"prune": "not pruned", "quantize": "not rounded"}


def panel(now: Sitting, layer: Layer, fitted: tuple[Mapping[str, Any], ...]) -> None:
    """Draw the controls of one layer. `fitted` is what the recipe's steps reported."""
    recipe, name = now.recipe, layer.name
    with st.container(key="panel-alone", gap="small"):
        st.html("<h3 class='t-group'>This layer alone</h3>")
        for setting in apart.settings(recipe, name):
            _slider(now, layer, setting, fitted)
        if any(step.kind == "prune" and not method(step.kind, step.method).by_layer for step in recipe.steps):
            show.small("What this recipe prunes leaves several layers together: no layer has a share of its own.")
        _switch(now, name)
        mine = apart.apart(recipe)
        st.button(
            "As the others", icon=":material/undo:", key="layers-as-others", type="tertiary",
            disabled=name not in mine, help="Takes back what this layer has of its own.",
            on_click=lambda: now.change(apart.as_the_others(now.recipe, name)),
        )  # fmt: skip
        if set(mine) - {name}:
            _clear(now, len(mine), "layers-clear")


def note(now: Sitting) -> None:
    """For the Studio: how many layers have settings of their own, the way to them, and out of them."""
    if not (mine := apart.apart(now.recipe)):
        return
    with st.container(key="panel-apart", gap="small"):
        show.small(f"{counted(len(mine))} The sliders here move the others.")
        st.page_link("pages/3_Layers.py", label="See them in Layers", icon=":material/layers:",
                     query_params=link_parameters())  # fmt: skip
        _clear(now, len(mine), "apart-clear")


def _clear(now: Sitting, count: int, key: str) -> None:
    label = f"Clear all {count}" if count > 1 else "Clear it"
    st.button(
        label, icon=":material/layers_clear:", key=key, type="tertiary",
        help="Every layer goes with the others again. Undo brings it back.",
        on_click=lambda: now.change(now.recipe.without_layers().simplified()),
    )  # fmt: skip


def _slider(now: Sitting, layer: Layer, setting: Setting, fitted: tuple[Mapping[str, Any], ...]) -> None:
    param, recipe = setting.param, now.recipe
    key = f"alone:{layer.name}:{setting.kind}:{setting.method}:{param.name}"
    st.session_state[key] = controls.shown(param, _standing(layer, setting, fitted))

    def changed() -> None:
        value = controls.stored(param, st.session_state[key])
        now.change(apart.with_setting(now.recipe, layer.name, setting, value))  # as it is by then

    controls.control(param, key, changed)
    show.small(_words(recipe, layer, setting, fitted))


def _standing(layer: Layer, setting: Setting, fitted: tuple[Mapping[str, Any], ...]) -> Value:
    """Where the slider stands: of a sparsity that all layers reach together, what this one got."""
    share = _share(layer, setting, fitted)
    if setting.own or share is None:
        return setting.value
    return min(max(share, float(setting.param.low or 0)), float(setting.param.high or 1))


def _share(layer: Layer, setting: Setting, fitted: tuple[Mapping[str, Any], ...]) -> float | None:
    if setting.param.unit != "fraction":
        return None
    for learned in fitted:
        if (learned["kind"], learned["method"]) == (setting.kind, setting.method):
            shares = learned.get("layers") or {}
            found = shares.get(layer.weight.removesuffix(".weight"), shares.get(layer.name))
            return None if found is None else float(found)
    return None


def _words(recipe: Recipe, layer: Layer, setting: Setting, fitted: tuple[Mapping[str, Any], ...]) -> str:
    if setting.own:
        return "Its own."
    share = _share(layer, setting, fitted)
    if share is not None:
        return f"As the others: {100 * share:.1f} % of it."
    if setting.value == setting.param.neutral:
        return f"As the others: {REST[setting.kind]}."
    return f"As the others: {setting.param.label(setting.value)}."


def _switch(now: Sitting, name: str) -> None:
    recipe, key = now.recipe, f"protect:{name}"
    on, able = apart.is_protected(recipe, name), apart.treats(recipe)
    st.session_state[key] = on

    def changed() -> None:
        now.change((apart.protected if st.session_state[key] else apart.as_the_others)(now.recipe, name))

    st.toggle(
        "Protect this layer", key=key, on_change=changed, disabled=not able,
        help="Its weights stay as trained: none pruned, all float. What it reads is rounded as everywhere, and where "
        "layers are pruned together, the others still reach the recipe's sparsity."
        if able else "The recipe treats no weights: there is nothing to protect it from.",
    )  # fmt: skip
