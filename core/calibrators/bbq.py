"""Bayesian binning into quantiles (BBQ)."""

from __future__ import annotations

from collections.abc import Sequence
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
BLOCK = 64  # classes judged together: with 10,000 examples, 5 MB of probabilities
Average = tuple[Floats, Floats, float]  # edges, values and the mean number of bins
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
    found = averaged_all(probabilities, labels, mapped_classes(classes))
    form = Steps(tuple((edges, values) for edges, values, _ in found))
    fitted: dict[str, Any] = {
        "steps": [len(values) for _, values in form.steps],
        "bins": [bins for *_, bins in found],
    }
    fitted |= absent(labels, classes)
    return FittedCalibrator(lambda new: stepped(new, form), fitted, form)


def averaged_all(p: Floats, labels: Integers, classes: Sequence[int]) -> list[Average]:
    """`averaged` of each of these classes of probabilities `(N, C)` against the rest.

    Where no probability of a class comes twice, all classes are cut at the same places, and each binning is judged
    for a block of classes at once.
    """
    n, found = len(p), []
    for start in range(0, len(classes), BLOCK):
        block = classes[start : start + BLOCK]
        columns = np.ascontiguousarray(p[:, block].T)
        order = np.argsort(columns, axis=1, kind="stable")
        rising = np.take_along_axis(columns, order, 1)
        climbed = np.zeros((len(block), n + 1))
        np.cumsum(labels[order] == np.array(block)[:, None], axis=1, out=climbed[:, 1:])
        apart = np.asarray((rising[:, 1:] > rising[:, :-1]).all(1))
        quick = iter(_averaged_together(rising[apart], climbed[apart]) if apart.any() else ())
        found += [
            next(quick) if apart[row] else averaged(columns[row], labels == one) for row, one in enumerate(block)
        ]
    return found


def _averaged_together(rising: Floats, climbed: Floats) -> list[Average]:
    """The averages of classes whose rising probabilities `(K, N)` are all different; `climbed` `(K, N + 1)`."""
    many, n = rising.shape
    binnings = [cuts(rising[0], number) for number in _numbers(n)]
    scores = np.empty((many, len(binnings)))
    for column, places in enumerate(binnings):
        scores[:, column] = _scores(rising, climbed, places)
    weights = _weights(scores)
    jumps = np.zeros((many, n))  # where the average steps, and by how much
    for column, places in enumerate(binnings):
        rows = np.flatnonzero(weights[:, column])
        means = _means(rising[rows], climbed[rows], places)
        jumps[rows[:, None], places] += weights[rows, column, None] * np.diff(means, axis=1, prepend=0.0)
    stepping = np.zeros((many, n), bool)
    for column, places in enumerate(binnings):
        stepping[np.ix_(weights[:, column] > 0, places)] = True
    values = np.clip(np.cumsum(jumps, axis=1), 0.0, 1.0)
    sizes = np.array([len(places) for places in binnings], np.float64)
    bins = weights @ sizes
    return [
        (edges_at(rising[row], np.flatnonzero(stepping[row])[1:]), values[row, stepping[row]], float(bins[row]))
        for row in range(many)
    ]


def _parts(rising: Floats, climbed: Floats, places: Integers) -> tuple[Floats, Floats, Floats, Floats]:
    """Hits `(K, B)`, sizes `(B,)` and the prior's two weights `(K, B)` of the bins that begin at `places` `(B,)`."""
    ends = np.append(places[1:], rising.shape[1])
    hits, sizes = climbed[:, ends] - climbed[:, places], (ends - places).astype(np.float64)
    below, above = rising[:, places[1:] - 1], rising[:, places[1:]]
    inner = below + (above - below) / 2
    edge = np.zeros((len(rising), 1))
    bounds = np.concatenate([edge, np.where(inner > below, inner, above), edge + 1], 1)
    middle = np.clip((bounds[:, 1:] + bounds[:, :-1]) / 2, SMALLEST, 1 - SMALLEST)
    weight = PRIOR / len(places)
    return hits, sizes, weight * middle, weight * (1 - middle)


def _scores(rising: Floats, climbed: Floats, places: Integers) -> Floats:
    """The log marginal likelihood of one binning for each class, `(K,)`.

    log B(h + a, n - h + b) - log B(a, b) by its three gamma functions: that of h is 0 in the many bins without a hit,
    and that of n is the same for all classes.
    """
    hits, sizes, alpha, beta = _parts(rising, climbed, places)
    weight = PRIOR / len(places)
    score = (special.gammaln(sizes - hits + beta) - special.gammaln(beta)).sum(1)
    score += (special.gammaln(weight) - special.gammaln(sizes + weight)).sum()
    row, column = np.nonzero(hits)
    a = alpha[row, column]
    score += np.bincount(row, special.gammaln(hits[row, column] + a) - special.gammaln(a), len(score))
    found: Floats = score
    return found


def _means(rising: Floats, climbed: Floats, places: Integers) -> Floats:
    """Each bin's posterior mean `(K, B)`."""
    hits, sizes, alpha, _ = _parts(rising, climbed, places)
    return (hits + alpha) / (sizes + PRIOR / len(places))


def _weights(scores: Floats) -> Floats:
    """Shares `(..., M)` of binnings by their log scores; the least of them are none."""
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights[weights < SMALLEST] = 0
    shares: Floats = weights / weights.sum(-1, keepdims=True)
    return shares


def _numbers(n: int) -> range:
    """The numbers of bins tried on `n` examples."""
    root = n ** (1 / 3)
    return range(max(1, int(root / RANGE)), min(n, max(2, int(np.ceil(root * RANGE)))) + 1)


def averaged(p: Floats, hits: NDArray[np.bool_]) -> Average:
    """Edges `(S - 1,)`, values `(S,)` and the mean number of bins of the average over all binnings of `p` `(N,)`.

    A binning of B bins scores the marginal likelihood of its hits under Beta priors of weight `PRIOR / B` around
    each bin's middle; all binnings are equally likely before.
    """
    n = len(p)
    order = np.argsort(p, kind="stable")
    rising, climbed = p[order], np.concatenate([[0], np.cumsum(hits[order])]).astype(np.float64)
    models: dict[tuple[int, ...], tuple[float, NDArray[np.int64], Floats]] = {}
    for number in _numbers(n):
        places = cuts(rising, number)
        key = tuple(places.tolist())
        if key not in models:  # ties make several numbers one binning
            models[key] = (*_judged(rising, climbed, places),)
    scores = np.array([score for score, _, _ in models.values()])
    weights = _weights(scores)
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
