"""Layers: where a recipe's bytes and its damage are, layer by layer, and what each layer alone would cost."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from core.engine.lane import working
from core.engine.transform import transform
from core.figures import words
from core.figures.apart import own_words
from core.figures.layer_map import Harm, layer_map_chart, table
from core.figures.sensitivity import harm_at, sensitivity_chart
from core.layers.layer_weights import layer_of
from core.layers.layerwise import LayerFacts, Layerwise, layerwise
from core.layers.probe import Probe, probe
from core.layers.sensitivity import Sensitivity
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from ui import layer_controls, show
from ui.budget import budget
from ui.frame import guarded, mode, show_notice
from ui.headline import headline, history, stale
from ui.layer_columns import NOTES, Columns, foretold_section, progress
from ui.layer_one import one_layer
from ui.picker import model_picker
from ui.state import Sitting, mirror, sitting
from ui.work import visit, visitor

MODEL = "layers-model"
CHOSEN = "layers-chosen"  # session key: the layer that is looked at
LAYER = "layers-layer"
BEAT = 0.7  # seconds between two looks at a measurement
TALLEST = 560  # px of a chart; taller ones scroll
USUAL = 4  # bits of each layer alone, where the recipe's own are not among those measured


def page() -> None:
    """Draw the page."""
    now = sitting()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        model_picker(now, MODEL)
        panel = st.container()
    with right:
        status, slot, head = _top(now)
        show_notice()
        with guarded():
            model, data = load_sample(now.model)
            with working(visitor()):
                found = layerwise(model, data, now.recipe)
                network, fitted = transform(model, data, now.recipe)
            measuring = probe(model, data)
            alive = measuring.alive  # looked at once: where it ends meanwhile, the board draws the page anew
            measured = None if alive else measuring.found()
            columns = Columns(model, data, now.recipe, measuring, _harm(measured, found))
            with panel:
                chosen = _chosen(found)
                layer_controls.panel(now, layer_of(network, chosen.name), fitted)
                by = columns.picker()
            _status(status, model, found)
            _map(found, by, columns.known, own_words(now.recipe), chosen)
            with guarded():
                one_layer(model, data, now.recipe, chosen)
            board = st.fragment(_board, run_every=BEAT if alive else None)
            board(measuring, chosen.name, alive)
            if measured is not None:
                foretold_section(columns, measured, chosen.name, _picked)
            budget(model, data)
            with guarded():  # last, so that what is counted stands before what takes a pass over the data
                visit(now, headline(now, slot, head, "layers", recalls=False))
    mirror()


def _top(now: Sitting) -> tuple[Any, Any, Any]:
    """Places for what is counted, for progress and for the cards of the whole network."""
    with st.container(key="layers-bar", horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap=None):
            st.html("<h1 class='t-title'>Where the bytes are</h1>")
            status = st.empty()
        history(now)
    with st.container(key="layers-head", gap=None):
        head = st.empty()
        stale(head, "layers")
        slot = st.empty()
    return status, slot, head


def _harm(measured: Sensitivity | None, found: Layerwise) -> Harm | None:
    """Each layer alone at the recipe's bits where these were measured."""
    if measured is None:
        return None
    own = min(layer.bits for layer in found.layers)
    return harm_at(measured, own if own in measured.bits else USUAL)


def _chosen(found: Layerwise) -> LayerFacts:
    """The layer that is looked at: at first the largest."""
    largest = max(found.layers, key=lambda layer: layer.packed)
    chosen = found.find(st.session_state.get(CHOSEN)) or largest
    st.session_state[LAYER] = chosen.name

    def typed() -> None:
        st.session_state[CHOSEN] = st.session_state[LAYER]

    with st.container(key="panel-look", gap="small"):
        st.selectbox("Look at a layer, or click its row", [layer.name for layer in found.layers], key=LAYER,
                     on_change=typed)  # fmt: skip
    return chosen


def _status(place: Any, model: ModelHandle, found: Layerwise) -> None:
    factor = words.ratio(found.original_packed, found.packed)
    place.html(
        f"<div class='t-status t-counted'><span class='t-tag'>Counted</span>"
        f"<span>{escape(model.title)}</span>"
        f"<span>{words.size(found.original_packed)} becomes {words.size(found.packed)}, {factor}</span>"
        f"<span>{words.size(found.rest)} in no layer</span></div>"
    )
    if found.gone:
        listed = ", ".join(words.cut(name, 48) for name in found.gone[:4]) + (
            " and more" if len(found.gone) > 4 else ""
        )
        show.small(f"Gone with their blocks, and not in the map: {listed}.")
    dead = [layer.name for layer in found.layers if layer.died]
    if dead:
        listed = ", ".join(words.cut(name, 48) for name in dead[:4]) + (" and more" if len(dead) > 4 else "")
        st.warning(
            f"Every weight is zero in {listed}: whatever goes in, the same comes out.", icon=":material/warning:"
        )


def _picked(name: Any) -> None:
    st.session_state[CHOSEN] = str(name[0] if isinstance(name, list) else name)


def _map(found: Layerwise, by: str, measured: Mapping[str, Harm], own: Mapping[str, str], chosen: LayerFacts) -> None:
    drawn = layer_map_chart(found, by, measured=measured, own=own, selected=chosen.name, mode=mode())
    show.chart(drawn, "Layer by layer", "layers", on_pick=_picked, tallest=TALLEST)
    note = NOTES.get(by, "")
    if by == "sqnr":
        left = any(layer.channels != layer.original_channels for layer in found.layers)
        note = "SQNR holds each layer's weights against the original's, batch-norm folded in: pruned and rounded "
        note += "weights count as noise" + (", channels that left do not. " if left else ". ")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show.small(f"{note}Bytes outside the layers: {words.size(found.rest)}.")
        st.download_button(
            "CSV", table(found, measured, own).to_csv(index=False), "layers.csv", "text/csv", key="layers-table-csv",
            icon=":material/download:", on_click="ignore", type="tertiary",
        )  # fmt: skip


def _board(measuring: Probe, chosen: str, was_alive: bool) -> None:
    """Each layer alone: begun by a button, measured in the background. Runs again by itself meanwhile."""
    if was_alive and not measuring.alive:
        st.rerun()
    with guarded():
        if measuring.alive:
            show.heading("Each layer alone")
            progress(measuring, "layers-cancel")
            return
        measured = measuring.found()
        if measured is not None:
            drawn = sensitivity_chart(measured, selected=chosen, mode=mode())
            show.chart(drawn, "Each layer alone", "sensitivity", on_pick=_picked, tallest=TALLEST)
            show.small(
                "The original with one layer's weights rounded, a symmetric grid a channel; activations and all "
                "other layers stay float32. Exact, on the whole evaluation set; the recipe plays no part."
            )
            return
        show.heading("Each layer alone")
        widths = ", ".join(map(str, measuring.widths[:-1])) + f" and {measuring.widths[-1]}"
        show.caption(
            f"Which layer cannot bear few bits? Each is rounded alone to {widths} bits and the whole evaluation set "
            "predicted again. This goes on in the background; the answer is kept."
        )
        if measuring.state == "cancelled":
            show.small("Cancelled; nothing was kept.")
        elif measuring.note:
            st.warning(measuring.note, icon=":material/info:")
        if st.button("Measure each layer alone", icon=":material/play_arrow:", key="layers-measure", type="primary"):
            measuring.start()
            st.rerun()
