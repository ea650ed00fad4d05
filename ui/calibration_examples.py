"""Examples behind conformal sets: the smallest, the largest and those that miss the truth, as what they are."""

from __future__ import annotations

import streamlit as st

from core.calibration.calibration_lab import Entry
from core.calibration.set_examples import KINDS, Kind, SetExample, set_examples
from core.calibration.sets import Sets
from core.data.handle import DataHandle
from core.engine.transform import transform
from core.figures import words
from core.models.handle import ModelHandle
from core.recipe import Recipe
from ui import show
from ui.gallery import LONG, Shown, gallery

FEW = 12  # examples shown
NAMED = 6  # classes of a set that are named
TITLES: dict[Kind, str] = {"smallest": "Smallest sets", "largest": "Largest sets", "missed": "Truth missed"}


def examples_of_sets(found: Sets, looked: Entry, model: ModelHandle, data: DataHandle, recipe: Recipe) -> None:
    """Draw them with a control of which; `looked` is the calibration whose probabilities order them."""
    assert looked.outcome is not None
    kind: Kind = st.segmented_control(
        "Examples", KINDS, key="sets-examples", default="smallest", required=True, persist_state="session",
        format_func=lambda one: f"{TITLES[one]}: {words.count(count(found, one))}",
    ) or "smallest"  # fmt: skip
    some = set_examples(found, looked.outcome.probabilities, kind, FEW)
    if not some:
        show.small("No example falls in here.")
        return
    gallery([_shown(one, data) for one in some], data, transform(model, data, recipe)[0])


def count(found: Sets, kind: Kind) -> int:
    """How many examples are of a kind: of one size those with the smallest or largest sets that hold the truth."""
    if kind == "missed":
        return int((~found.covered).sum())
    sizes = found.sizes[found.covered]
    return int((sizes == (sizes.min() if kind == "smallest" else sizes.max())).sum()) if len(sizes) else 0


def _shown(one: SetExample, data: DataHandle) -> Shown:
    named = [words.cut(data.classes[place], LONG) for place in one.inside[:NAMED]]
    more = f" and {len(one.inside) - NAMED} more" if len(one.inside) > NAMED else ""
    said = f"{', '.join(named)}{more}" if named else "no class at all"
    return Shown(one.place, data.classes[one.truth], "", "", not one.held, f"set of {len(one.inside)}: {said}")
