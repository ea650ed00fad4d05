"""What colours the map of layers: counted at once, or measured in the background when a person asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import streamlit as st

from core.data.handle import DataHandle
from core.deploy import layer_times as times
from core.engine.transform import transform
from core.figures.foretold import foretold_chart
from core.figures.layer_columns import foretold_column, lost_column, time_columns
from core.figures.layer_map import BY, MEASURED, Harm
from core.jobs.background import Named, named
from core.layers import foretold, treated
from core.layers.probe import Probe
from core.layers.sensitivity import Sensitivity
from core.models.handle import ModelHandle
from core.recipe import Recipe
from ui import show
from ui.frame import guarded, mode

COLOUR = "layers-colour"
BEAT = 0.7  # seconds between two looks at a measurement
ASK = {
    "sensitivity": ("Measure each layer alone", "Each layer is rounded alone, on the whole evaluation set."),
    "lost": (
        "Measure each layer's loss",
        "The original with one layer's weights as this recipe makes them, on the whole evaluation set.",
    ),
    "foretold": (
        "Compute Fisher information",
        "Gradients of up to 512 calibration examples, once a model; then every recipe's loss is foretold at once.",
    ),
    "time": (
        "Time each layer",
        "Original and tempered in turn, one example a call, with all else standing still: a few seconds.",
    ),
}
NOTES = {
    "dead": "A channel whose weights are all zero gives the same whatever goes in. ",
    "sensitivity": "The original with one layer's weights rounded, all else float32; the recipe plays no part. ",
    "lost": "The original with one layer's weights as this recipe makes them, all else float32; what several cost "
    "together is another number. ",
    "foretold": "Half the sum of Fisher information times the squared change of the weights: no evaluation. ",
    "time": "ONNX Runtime's profile of the very graph, one example a call; a fused node counts for the layer whose "
    "weight it reads. ",
}


@dataclass(frozen=True)
class Columns:
    """The columns of one model, its data and a recipe; `harm` is each layer alone, where that was measured."""

    model: ModelHandle
    data: DataHandle
    recipe: Recipe
    measuring: Probe
    harm: Harm | None

    def work(self, of: str) -> Named:
        """What is asked for, at work or at rest."""
        model, data, recipe = self.model, self.data, self.recipe
        if of == "time":
            key = times.key(transform(model, data, recipe)[0], data)
            return named(key, lambda told: times.layer_times(transform(model, data, recipe)[0], data, told))
        if of == "lost":
            return named(treated.key(model, data, recipe), lambda told: treated.treated(model, data, recipe, told))
        return named(foretold.key(model, data), lambda told: foretold.information(model, data, told))

    @cached_property
    def known(self) -> dict[str, Harm]:
        """The columns that are known by now."""
        found = {} if self.harm is None else {"sensitivity": self.harm}
        if (lost := self.work("lost").found()) is not None:
            found["lost"] = lost_column(lost)
        if (fisher := self.work("foretold").found()) is not None:
            found["foretold"] = foretold_column(foretold.of_recipe(fisher, self.model, self.data, self.recipe))
        if (measured := self.work("time").found()) is not None:
            found |= time_columns(measured)
        return found

    def picker(self) -> str:
        """Draw what colours the layers, and where that is not known yet, what makes it known."""
        with st.container(key="panel-layers", gap="small"):
            by: str = st.radio(
                "Colour the layers by", list(BY), key=COLOUR, format_func=lambda name: BY[name],
                persist_state="session",
            ) or next(iter(BY))  # fmt: skip
            if by in MEASURED and by not in self.known:
                work = self.measuring if by == "sensitivity" else self.work(by)
                alive = work.alive
                st.fragment(_asking, run_every=BEAT if alive else None)(work, by, alive)
        return by


def _asking(work: Named | Probe, by: str, was_alive: bool, key: str = "column") -> None:
    """A button that begins, or how far it is. Runs again by itself meanwhile."""
    if was_alive and not work.alive:
        st.rerun()
    if work.alive:
        progress(work, f"{key}-cancel")
        return
    label, why = ASK[by]
    show.small(why)
    _note(work)
    if st.button(label, icon=":material/play_arrow:", key=f"{key}-{by}"):
        work.start()
        st.rerun()


def _note(work: Named | Probe) -> None:
    if work.state == "cancelled":
        show.small("Cancelled; nothing was kept.")
    elif work.note:
        st.warning(work.note, icon=":material/info:")


def progress(work: Named | Probe, key: str) -> None:
    """How far something in the background is, and the button that ends it."""
    left = work.seconds_left
    time = "" if left is None else f", about {max(1, round(left))} s left"
    st.progress(min(work.fraction, 1.0), f"Measuring: {100 * work.fraction:.0f} %{time}")
    st.button("Cancel", icon=":material/stop:", key=key, on_click=work.cancel)


def foretold_section(columns: Columns, measured: Sensitivity, chosen: str, on_pick: Callable[[Any], None]) -> None:
    """What two predictions without evaluation tell of what was measured."""
    work = columns.work("foretold")
    alive = work.alive
    with guarded():
        if (fisher := work.found()) is None:
            show.heading("Could one have known?")
            show.caption("Held against what was measured: the weights' own noise, and Fisher information.")
            st.fragment(_asking, run_every=BEAT if alive else None)(work, "foretold", alive, "foretold")
            return
        told = foretold.foretold(fisher, columns.model, columns.data, measured.bits)
        drawn = foretold_chart(measured, told, selected=chosen, mode=mode())
        show.chart(drawn, "Could one have known?", "foretold", on_pick=on_pick)
        reasons = "; ".join(f"{name}: {why}" for name, why in fisher.why.items())
        show.small(
            "To second order the loss added is half the sum of the Fisher information's diagonal times the squared "
            f"change of the weights, over {fisher.examples} examples. Open marks lie at or below the lower edge."
            + (f" Left out: {reasons}." if reasons else "")
        )
