"""Calibration figures of 10,000 x 1,000 logits, beside the libraries that also make them.

The peers are in benchmarks/requirements.txt; one that is not installed is left out. Alone: `python -m
benchmarks.logits`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.rows import Row, paired
from core import torchvision_pair
from core.calibrators._fitted import softmax
from core.calibrators.temperature import optimal_temperature, temperature
from core.metrics._reduction import MAX_BINS, reduce, reduce_logits

EXAMPLES, CLASSES, ROUNDS = 10_000, 1_000, 7
RIGHT = 1e-4  # relative distance from the optimum up to which a temperature counts as right
torchvision_pair.ensure()  # torchmetrics imports torchvision


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Over-confident logits float32 of a classifier that is right about half the time, and labels."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    labels = generator.integers(0, CLASSES, EXAMPLES)
    logits[np.arange(EXAMPLES), labels] += generator.normal(6, 3, EXAMPLES).astype(np.float32)
    return np.float32(1.7) * logits, labels


def rows() -> list[Row]:
    """Every row, in order; a line on the error stream for each peer that is not installed."""
    logits, labels = made()
    given, truth = torch.from_numpy(logits), torch.from_numpy(labels)
    probabilities = softmax(logits)
    given_probabilities = torch.softmax(given, 1)
    found = reduce_logits(logits, labels)
    size = f"{EXAMPLES:,} x {CLASSES:,} logits"
    bare, bare_is = partial(torch.softmax, given, 1), "one bare softmax pass, torch, float32"
    seen = [
        Row(f"{size} reduced to what every measure needs", *paired(partial(reduce_logits, logits, labels), bare),
            bare_is),
        Row("the same", *paired(partial(reduce_logits, logits, labels), partial(softmax, logits)),
            "one bare softmax pass, NumPy, float64"),
    ]  # fmt: skip
    after: list[tuple[str, Callable[[], object]]] = [
        ("all registered measures, after that", found.measures),
        ("ECE at another number of bins, after that", lambda: found.ece(37)),
        (f"classwise ECE at {MAX_BINS} bins, after that", lambda: found.classwise_ece(MAX_BINS)),
        ("another class's reliability, after that", lambda: found.of_class(7, 20)),
        ("another class's threshold, after that", lambda: found.one_vs_rest(7, 0.3)),
    ]
    seen += [Row(what, *paired(call, bare), bare_is) for what, call in after]

    def ours_classwise() -> float:
        return float(reduce(probabilities, labels).classwise_ece().mean())

    def ours_ece() -> float:
        return reduce(probabilities, labels).ece()

    for name, theirs in _errors(given_probabilities, truth):
        what, ours = ("classwise ECE", ours_classwise) if "classwise" in name else ("ECE", ours_ece)
        apart = abs(float(theirs()) - ours()) / ours()  # type: ignore[arg-type]
        # Both have run once for `apart`; a minute of torch-uncertainty's needs no median.
        times = paired(ours, theirs, 1 if "classwise" in name else 3, 0)
        seen.append(Row(f"{what} of {size}", *times, f"{name}, off by {apart:.0e} of the value"))
    best = optimal_temperature(logits.astype(np.float64), labels)
    for name, fitted in _temperatures(given, truth, probabilities):
        theirs_is = fitted()
        off = abs(theirs_is / best - 1)
        said = f"{name}: T = {theirs_is:.6f}, {'right' if off < RIGHT else 'wrong'}, {off:.0e} from {best:.6f}"
        seen.append(Row(f"temperature of {size}", *paired(lambda: temperature(logits, labels), fitted, 3), said))
    return seen


def _errors(probabilities: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Peers' calibration errors over 15 bins."""
    try:
        from torchmetrics.functional.classification import multiclass_calibration_error
    except ImportError as error:
        _absent("torchmetrics", error)
    else:
        yield "torchmetrics", lambda: multiclass_calibration_error(probabilities, labels, CLASSES, n_bins=15)
    try:
        from torch_uncertainty.metrics.classification import ClasswiseCalibrationError
    except ImportError as error:
        _absent("torch-uncertainty", error)
        return

    def classwise() -> object:
        metric = ClasswiseCalibrationError(CLASSES, num_bins=15)
        metric.update(probabilities, labels)
        return metric.compute()

    yield "torch-uncertainty, classwise", classwise


def _temperatures(
    logits: torch.Tensor, labels: torch.Tensor, probabilities: np.ndarray
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Peers' fits, each giving its T."""
    try:
        from probmetrics.calibrators import TemperatureScalingCalibrator
        from probmetrics.distributions import CategoricalLogits
    except ImportError as error:
        _absent("probmetrics", error)
    else:
        for optimiser in ("bisection", "lbfgs", "lbfgs_line_search"):

            def fitted(optimiser: str = optimiser) -> float:
                one = TemperatureScalingCalibrator(opt=optimiser)
                one.fit_torch(CategoricalLogits(logits), labels)
                return 1 / float(one.invtemp_)

            yield f"probmetrics, {optimiser}", fitted
    try:
        from netcal.scaling import TemperatureScaling
    except ImportError as error:
        _absent("netcal", error)
        return

    for kind in (np.float64, np.float32):

        def fitted_by_netcal(kind: type = kind) -> float:
            one = TemperatureScaling()
            one.fit(probabilities.astype(kind), labels.numpy())
            return 1 / float(np.asarray(one.temperature).reshape(-1)[0])  # it keeps the factor on the logits

        yield f"netcal, {kind.__name__}", fitted_by_netcal


def _absent(name: str, error: ImportError) -> None:
    print(f"{name} cannot be imported and is left out (benchmarks/requirements.txt): {error}", file=sys.stderr)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.ratio:9.4f}  {row.ours:9.2f} ms  {row.baseline:10.2f} ms  {row.what}; {row.baseline_is}")
