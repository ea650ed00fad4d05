"""Layers: where a recipe's bytes and its damage are, layer by layer, and what each layer alone would cost."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from core.data.handle import DataHandle
from core.engine.lane import working
from core.engine.layer_weights import bit_costs, input_range, layer_weights
from core.engine.layerwise import LayerFacts, Layerwise, layerwise
from core.engine.probe import Probe, probe
from core.engine.sensitivity import Sensitivity
from core.figures import words
from core.figures.layer_map import BY, Harm, decibels, layer_map_chart, shape, table
from core.figures.sensitivity import harm_at, sensitivity_chart
from core.figures.weights import weights_chart
from core.models.handle import ModelHandle
from core.models.samples import load_sample, titles
from core.recipe import Recipe
from ui import show
from ui.budget import budget
from ui.frame import guarded, mode, show_notice
from ui.state import Sitting, link_parameters, mirror, sitting
from ui.work import visitor

MODEL = "layers-model"
COLOUR = "layers-colour"
CHOSEN = "layers-chosen"  # session key: the layer that is looked at
LAYER = "layers-layer"
BEAT = 0.7  # seconds between two looks at a measurement
TALLEST = 560  # px of a chart; taller ones scroll
USUAL = 4  # bits of each layer alone, where the recipe's own are not among those measured


def page() -> None:
    """Draw the page."""
    now = sitting()
    show_notice()
    left, right = st.columns([0.235, 0.765], gap="medium")
    with left, st.container(key="controls"):
        _model(now)
        panel = st.container()
    with right, guarded():
        model, data = load_sample(now.model)
        with working(visitor()):
            found = layerwise(model, data, now.recipe)
        measuring = probe(model, data)
        alive = measuring.alive  # looked at once: where it ends meanwhile, the board draws the page anew
        harm = _harm(None if alive else measuring.found(), found)
        with panel:
            by, chosen = _controls(found, harm)
        _status(now, model, found)
        _map(found, by, harm, chosen)
        with guarded():
            _layer(model, data, now.recipe, chosen)
        board = st.fragment(_board, run_every=BEAT if alive else None)
        board(measuring, chosen.name, alive)
        budget(model, data)
    mirror()


def _model(now: Sitting) -> None:
    names = titles()
    st.session_state[MODEL] = now.model
    st.selectbox(
        "Model", list(names), key=MODEL, format_func=lambda name: names.get(name, name), label_visibility="collapsed",
        on_change=lambda: now.choose_model(st.session_state[MODEL]),
    )  # fmt: skip
    show.small(f"The Studio's recipe: {now.recipe.notation}.")
    st.page_link(
        "pages/1_Studio.py", label="Change it in the Studio", icon=":material/tune:", query_params=link_parameters()
    )


def _harm(measured: Sensitivity | None, found: Layerwise) -> Harm | None:
    """Each layer alone at the recipe's bits where these were measured."""
    if measured is None:
        return None
    own = min(layer.bits for layer in found.layers)
    return harm_at(measured, own if own in measured.bits else USUAL)


def _controls(found: Layerwise, harm: Harm | None) -> tuple[str, LayerFacts]:
    """What colours the map, and the layer that is looked at: at first the largest."""
    with st.container(key="panel-layers", gap="small"):
        options = [name for name in BY if name != "sensitivity" or harm is not None]
        by = st.radio(
            "Colour the layers by", options, key=COLOUR, format_func=lambda name: BY[name], persist_state="session",
        )  # fmt: skip
        if harm is None:
            show.small("Sensitivity joins these once each layer was measured alone, below.")
        largest = max(found.layers, key=lambda layer: layer.packed)
        chosen = found.find(st.session_state.get(CHOSEN)) or largest
        st.session_state[LAYER] = chosen.name

        def typed() -> None:
            st.session_state[CHOSEN] = st.session_state[LAYER]

        st.selectbox("Look at a layer", [layer.name for layer in found.layers], key=LAYER, on_change=typed)
        show.small("Or click its row.")
    return by or options[0], chosen


def _status(now: Sitting, model: ModelHandle, found: Layerwise) -> None:
    factor = words.ratio(found.original_packed, found.packed)
    st.html(
        f"<h1 class='t-title'>Where the bytes are</h1><div class='t-status' role='status'>"
        f"<span class='t-tag'>Counted</span><span>{escape(model.title)}, {escape(now.recipe.notation)}</span>"
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


def _map(found: Layerwise, by: str, harm: Harm | None, chosen: LayerFacts) -> None:
    drawn = layer_map_chart(found, by, harm=harm, selected=chosen.name, mode=mode())
    show.chart(drawn, "Layer by layer", "layers", on_pick=_picked, tallest=TALLEST)
    note = "SQNR holds each layer's weights against the original's, batch-norm folded in: pruned and rounded weights "
    if any(layer.channels != layer.original_channels for layer in found.layers):
        note += "count as noise, channels that left do not. "
    else:
        note += "count as noise. "
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show.small(f"{note}Bytes outside the layers: {words.size(found.rest)}.")
        st.download_button(
            "CSV", table(found, harm).to_csv(index=False), "layers.csv", "text/csv", key="layers-table-csv",
            icon=":material/download:", on_click="ignore", type="tertiary",
        )  # fmt: skip


def _layer(model: ModelHandle, data: DataHandle, recipe: Recipe, chosen: LayerFacts) -> None:
    """One layer: its weights on their grid, its facts, what other bit-widths would cost."""
    line = "Row" if chosen.kind == "embedding" else "Channel"
    wide, narrow = st.columns([0.6, 0.4], gap="medium")
    with wide:
        rows = chosen.shape[0]

        def which() -> None:
            st.number_input(
                f"{line} (0 to {rows - 1})", 0, rows - 1, None, key=f"layers-channel-{chosen.name}-{rows}",
                placeholder=f"{line.lower()}: all", width=200, label_visibility="collapsed",
            )  # fmt: skip

        channel = st.session_state.get(f"layers-channel-{chosen.name}-{rows}")
        seen = layer_weights(model, data, recipe, chosen.name, channel)
        show.chart(weights_chart(seen, mode=mode()), f"Weights of {chosen.name}", "weights", beside=which)
        with working(visitor()):
            read = input_range(model, data, recipe, chosen.name)
        if read is not None:
            said = f"What it reads goes from {read.low:.3g} to {read.high:.3g}; its {read.bits}-bit grid from "
            said += f"{read.grid_low:.3g} to {read.grid_high:.3g}, so {words.percent(read.beyond, 2)} is clipped"
            said = said.replace("-", words.MINUS).replace(f"{read.bits}{words.MINUS}bit", f"{read.bits}-bit")
            show.small(f"{said} ({read.examples} calibration examples, those that set the grid).")
    with narrow:
        show.heading("This layer")
        _facts(chosen)
        show.small("Its weight at other bit-widths, with the zeros it has now: computed, not measured.")
        costs = bit_costs(model, data, recipe, chosen.name)
        shown = pd.DataFrame(
            {
                "Bits": [f"{cost.bits}, now" if cost.bits == chosen.bits else str(cost.bits) for cost in costs],
                "Bytes": [cost.total for cost in costs],
                "Weights": [words.size(cost.values) for cost in costs],
                "Grids": [words.size(cost.grids) for cost in costs],
                "Masks": [words.size(cost.masks) for cost in costs],
            }
        )
        st.dataframe(
            shown, hide_index=True, height=35 * (len(shown) + 1) + 3,
            alt=f"Table of bytes of {chosen.name} at each bit-width",
            column_config={"Bytes": st.column_config.NumberColumn(format="localized")},
        )  # fmt: skip


def _facts(layer: LayerFacts) -> None:
    was = layer.original_shape != layer.shape
    rows = [
        ("Kind", layer.kind),
        ("Weight", shape(layer.shape) + (f", was {shape(layer.original_shape)}" if was else "")),
        ("Parameters", words.count(layer.parameters)),
        ("Multiply-adds an example", words.count(layer.multiply_adds) if layer.multiply_adds else "none"),
        ("Zero", words.percent(layer.sparsity)),
        ("Packed", f"{words.size(layer.packed)}, was {words.size(layer.original_packed)}"),
        ("SQNR", "nothing changed" if layer.sqnr_db is None else decibels(layer.sqnr_db)),
        ("Channels left", f"{layer.channels} of {layer.original_channels}"),
        ("Dead channels", f"{layer.dead} of {layer.channels}" if layer.dead else "none"),
    ]
    st.html(f"<dl class='t-facts'>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows)}</dl>")


def _board(measuring: Probe, chosen: str, was_alive: bool) -> None:
    """Each layer alone: begun by a button, measured in the background. Runs again by itself meanwhile."""
    if was_alive and not measuring.alive:
        st.rerun()
    with guarded():
        if measuring.alive:
            _progress(measuring)
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


def _progress(measuring: Probe) -> None:
    show.heading("Each layer alone")
    left = measuring.seconds_left
    time = "" if left is None else f", about {max(1, round(left))} s left"
    st.progress(min(measuring.fraction, 1.0), f"Measuring: {100 * measuring.fraction:.0f} %{time}")
    st.button("Cancel", icon=":material/stop:", key="layers-cancel", on_click=measuring.cancel)
