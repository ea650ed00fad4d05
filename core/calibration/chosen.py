"""Which calibration the calibration split itself prefers: by a cross-fitted score, so that evaluation stays apart.

Stone 1974, Cross-validatory choice and assessment of statistical predictions, doi
10.1111/j.2517-6161.1974.tb00994.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.calibration.calibration_lab import NONE, NONE_TITLE, Material
from core.calibration.cross_fit import FOLDS, cross_fitted
from core.calibration.ranking import badness
from core.engine.runtime import Progress
from core.engine.statistics import difference
from core.errors import TemperError
from core.registry import Method, method, methods
from core.types import Floats, Outcome, Quantity


@dataclass(frozen=True)
class Chosen:
    """The calibration of the best cross-fitted score on `n` calibration examples; '' is none at all.

    `scores` are all that could be fitted, the best first, by name; `against_none` is the paired change of the score.
    """

    name: str
    title: str
    measure: str
    scores: Mapping[str, float]
    against_none: Quantity
    n: int


def choose(given: Material, measure: str, progress: Progress | None = None) -> Chosen:
    """Score every calibration of the task on the calibration split alone.

    Each of the parts is predicted by a fit on the others; methods that cannot be fitted there are left out. Raises
    `TemperError` for a measure of another task.
    """
    base, metric = given.calibration, method("metric", measure).function
    if base.task.kind not in method("metric", measure).tasks:
        raise TemperError(f"'{measure}' does not speak of a {base.task.kind} model.")
    suiting = methods("calibrate", base.task.kind)
    found: dict[str, Outcome] = {NONE: base}
    for place, one in enumerate(suiting):
        try:
            found[one.name] = replace(
                base, predicted=_crossed(given, one, place / len(suiting), len(suiting), progress)
            )
        except TemperError:
            continue
    values = {name: float(metric.of(outcome)) for name, outcome in found.items()}
    order = sorted(values, key=lambda name: badness(measure, values[name]))
    best = order[0]
    title = NONE_TITLE if best == NONE else method("calibrate", best).title
    return Chosen(
        best, title, measure, {name: values[name] for name in order}, difference(measure, base, found[best]), base.n
    )


def key_of(given: Material, measure: str) -> tuple[str, ...]:
    """Names what `choose` depends on: a recipe's own calibration counts only where it is not fitted as by default."""
    own = given.own
    usual = own is None or dict(own.values) == method("calibrate", own.method).complete({})
    return ("chosen", *given.key, "" if usual else given.name[-1], measure)


def _crossed(given: Material, one: Method, from_: float, many: int, progress: Progress | None) -> Floats:
    values = dict(given.own.values) if given.own and given.own.method == one.name else one.complete({})
    turn = 0

    def fit(z: Any, y: Any) -> Any:
        nonlocal turn
        if progress is not None:
            progress(from_ + turn / (FOLDS * many))
        turn += 1
        return one.function(z, y, **values)

    return cross_fitted(fit, given.calibration.logits, given.calibration.labels)
