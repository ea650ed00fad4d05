"""One layer: its weights on their grid, its facts, what it reads, and what other bit-widths would cost."""

from __future__ import annotations

from html import escape

import pandas as pd
import streamlit as st

from core.data.handle import DataHandle
from core.engine.lane import working
from core.figures import words
from core.figures.inputs import sentences
from core.figures.layer_map import decibels, shape
from core.figures.weights import weights_chart
from core.layers.inputs import inputs_of
from core.layers.layer_weights import bit_costs, dead_channels, input_range, layer_weights
from core.layers.layerwise import LayerFacts
from core.models.handle import ModelHandle
from core.recipe import Recipe
from ui import show
from ui.frame import mode
from ui.work import visitor

DEAD = 10  # dead channels that are named


def one_layer(model: ModelHandle, data: DataHandle, recipe: Recipe, chosen: LayerFacts) -> None:
    """Draw it."""
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
        _costs(model, data, recipe, chosen)
    with narrow:
        show.heading("This layer")
        _facts(chosen, dead_channels(model, data, recipe, chosen.name) if chosen.dead else ())
        with working(visitor()):
            read, given = input_range(model, data, recipe, chosen.name), inputs_of(model, data, chosen.name)
        for text in sentences(given, read):
            show.small(text)


def _costs(model: ModelHandle, data: DataHandle, recipe: Recipe, chosen: LayerFacts) -> None:
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


def _facts(layer: LayerFacts, dead: tuple[int, ...]) -> None:
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
    if dead:
        more = f" and {len(dead) - DEAD} more" if len(dead) > DEAD else ""
        rows.append(("All zero are", f"{', '.join(map(str, dead[:DEAD]))}{more}"))
    st.html(f"<dl class='t-facts'>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows)}</dl>")
