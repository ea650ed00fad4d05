"""Every calibration's fit and every calibration figure of 10,000 x 1,000 logits, beside netcal and torchmetrics.

Fits stand beside netcal's of the same kind, or else its temperature, in float64: in float32 it does not fit. Figures
stand beside torchmetrics' calibration error, the one number of theirs. Peers are in benchmarks/requirements.txt; what
is not installed is left out. Alone: `python -m benchmarks.calibration`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.logits import CLASSES, EXAMPLES, made
from benchmarks.rows import Row, paired
from core import torchvision_pair
from core.calibration.bins_lesson import bins_lesson
from core.calibration.calibration_lab import NONE, Entry, Material
from core.calibration.class_curves import class_curves
from core.calibration.corp import corp
from core.calibration.ranking import judges, rank
from core.calibration.sets import Examples, Rule, conformal_sets
from core.calibration.temperatures import temperatures
from core.calibrators._fitted import softmax
from core.decisions.referring import referring
from core.errors import TemperError
from core.figures.bins_lesson import bins_lesson_chart
from core.figures.calibration_curve import calibration_curve_chart
from core.figures.calibration_ranking import calibration_ranking_chart
from core.figures.class_curves import class_curves_chart
from core.figures.referring import referring_chart
from core.figures.sets import sets_chart
from core.figures.temperature_curve import temperature_curve_chart
from core.registry import methods
from core.task import task_of_classes
from core.types import Outcome, Provenance

ROUNDS = 3
SIZE = f"{EXAMPLES:,} x {CLASSES:,} logits"
torchvision_pair.ensure()  # torchmetrics imports torchvision


def rows() -> list[Row]:
    """Fits first, then figures; a line on the error stream for what is not offered or not installed."""
    logits, labels = made()
    probabilities = softmax(logits)
    return [*_fits(logits, labels, probabilities), *_figures(logits, labels, probabilities)]


def _fits(logits: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> list[Row]:
    try:
        from netcal.binning import HistogramBinning
        from netcal.scaling import TemperatureScaling
    except ImportError as error:
        print(f"netcal cannot be imported, so that fits are left out: {error}", file=sys.stderr)
        return []

    def netcal(kind: Callable[[], object]) -> Callable[[], object]:
        return lambda: kind().fit(probabilities, labels)  # type: ignore[attr-defined]

    temperature = netcal(TemperatureScaling), "netcal's temperature, float64"
    peers = {"histogram": (netcal(partial(HistogramBinning, 15)), "netcal's histogram, 15 bins, float64")}
    seen = []
    for one in methods("calibrate", "multi-class"):
        fit = partial(one.function, logits, labels, **one.complete({}))
        try:
            fit()
        except TemperError as error:
            print(f"{one.title}: {error}", file=sys.stderr)
            continue
        theirs, said = peers.get(one.name, temperature)
        seen.append(Row(f"{one.title} fitted on {SIZE}", *paired(fit, theirs, ROUNDS, 0), said))
    return seen


def _figures(logits: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> list[Row]:
    try:
        from torchmetrics.functional.classification import multiclass_calibration_error
    except ImportError as error:
        print(f"torchmetrics cannot be imported, so that figures are left out: {error}", file=sys.stderr)
        return []
    given, truth = torch.softmax(torch.from_numpy(logits), 1), torch.from_numpy(labels)
    theirs = partial(multiclass_calibration_error, given, truth, CLASSES, n_bins=15)
    task = task_of_classes([f"class {place}" for place in range(CLASSES)])
    before = Outcome(logits, probabilities, labels, task, Provenance("", "", "", "made", 0.0))
    after = Outcome(logits, softmax(logits / 1.7), labels, task, Provenance("", "", "", "made", 0.0))
    both = Material(("made",), before, after)
    pair, rule = (before, after), Rule("lac")
    sides = Examples(before.probabilities, labels), Examples(after.probabilities, labels)
    entries = (Entry(NONE, "Uncalibrated", before), Entry("temperature", "Temperature", after))
    figures: list[tuple[str, Callable[[], object]]] = [
        ("reliability, isotonic with bands", lambda: calibration_curve_chart(corp(before), corp(after))),
        ("class by class", lambda: class_curves_chart(class_curves(before, after))),
        ("every temperature", lambda: temperature_curve_chart(temperatures(both), 1.0)),
        ("refer when unsure", lambda: referring_chart(referring(pair, pair, 0.2))),
        ("what ECE depends on", lambda: bins_lesson_chart(bins_lesson(after, EXAMPLES, 15), 15)),
        ("conformal sets", lambda: sets_chart(conformal_sets(*sides, rule, task.classes))),
    ]
    figures += [
        (f"two calibrations ranked by {name}", lambda name=name: calibration_ranking_chart(rank(entries, name)))
        for name in judges("multi-class")
    ]
    return [
        Row(f"{what}, {SIZE}", *paired(call, theirs, ROUNDS, 1), "torchmetrics' calibration error, one number")
        for what, call in figures
    ]


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row.ratio:9.3f}  {row.ours:9.1f} ms  {row.baseline:10.1f} ms  {row.what}; {row.baseline_is}",
            flush=True,
        )
