"""Bayesian binning into quantiles (BBQ)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from core.calibrators._fitted import FittedCalibrator, Steps, absent, check, softmax
from core.calibrators._rest import cuts, edges_at, mapped_classes, stepped
from core.registry import register
from core.types import Floats, Integers

RANGE = 10  # the numbers of bins run from the cube root of N divided by this to the cube root times this
PRIOR = 2.0  # examples that the prior of all bins together weighs
SMALLEST = 1e-9  # of the largest weight: below it a binning moves no probability by more than its rounding


@register(
    kind="calibrate",
    name="bbq",
    title="BBQ",
    summary="Averages many histogram binnings by how likely each makes what was seen; predictions may change.",
    reference="Naeini et al. 2015, Obtaining well calibrated probabilities using Bayesian binning, "
    "doi 10.1609/aaai.v29i1.9602",
)
def bbq(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit one average of binnings a class, one against the rest, and normalise. Raises `TemperError`.

    With two classes that of class 1 is fitted and class 0 takes the complement. An average of step functions is a
    step function, and is kept as such.
    """
    probabilities = softmax(check(logits, labels))
    classes = probabilities.shape[1]
    found = [averaged(probabilities[:, c], labels == c) for c in mapped_classes(classes)]
    form = Steps(tuple((edges, values) for edges, values, _ in found))
    fitted: dict[str, Any] = {
        "steps": [len(values) for _, values in form.steps],
        "bins": [bins for *_, bins in found],
    }
    fitted |= absent(labels, classes)
    return FittedCalibrator(lambda new: stepped(new, form), fitted, form)


def averaged(p: Floats, hits: NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    """Edges `(S - 1,)`, values `(S,)` and the mean number of bins of the average over all binnings of `p` `(N,)`.

    A binning of B bins scores the marginal likelihood of its hits under Beta priors of weight `PRIOR / B` around
    each bin's middle; all binnings are equally likely before.
    """
    n = len(p)
    order = np.argsort(p, kind="stable")
    rising, climbed = p[order], np.concatenate([[0], np.cumsum(hits[order])]).astype(np.float64)
    root = n ** (1 / 3)
    numbers = range(max(1, int(root / RANGE)), min(n, max(2, int(np.ceil(root * RANGE)))) + 1)
    models: dict[tuple[int, ...], tuple[float, NDArray[np.int64], Floats]] = {}
    for number in numbers:
        places = cuts(rising, number)
        key = tuple(places.tolist())
        if key not in models:  # ties make several numbers one binning
            models[key] = (*_judged(rising, climbed, places),)
    scores = np.array([score for score, _, _ in models.values()])
    weights = np.exp(scores - scores.max())
    weights[weights < SMALLEST] = 0
    weights /= weights.sum()
    used = [(w, places, means) for w, (_, places, means) in zip(weights, models.values(), strict=True) if w > 0]
    joint = np.unique(np.concatenate([places for _, places, _ in used]))
    values = np.zeros(len(joint))
    for w, places, means in used:
        values += w * means[np.searchsorted(places, joint, "right") - 1]
    return edges_at(rising, joint[1:]), values, float(sum(w * len(means) for w, _, means in used))


def _judged(rising: Floats, climbed: Floats, places: NDArray[np.int64]) -> tuple[float, NDArray[np.int64], Floats]:
    ends = np.append(places[1:], len(rising))
    hits, sizes = climbed[ends] - climbed[places], (ends - places).astype(np.float64)
    bounds = np.concatenate([[0.0], edges_at(rising, places[1:]), [1.0]])
    middle = np.clip((bounds[1:] + bounds[:-1]) / 2, SMALLEST, 1 - SMALLEST)
    weight = PRIOR / len(places)
    alpha, beta = weight * middle, weight * (1 - middle)
    score = special.betaln(hits + alpha, sizes - hits + beta) - special.betaln(alpha, beta)
    return float(score.sum()), places, (hits + alpha) / (sizes + weight)
