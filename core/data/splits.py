"""Disjoint, stratified, seeded places for fit, calibration and evaluation; what is identical across them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError

if TYPE_CHECKING:
    from core.types import Integers, Labels

MOST_CALIBRATION = 5_000  # a temperature is stable from some hundred; more only takes from the judges
FIT_FROM, FIT_SHARE = 3_000, 0.2  # post-training fits little; only where there are plenty some are set aside
MOST_FIT = 0.8  # of the examples, where a person asks for a share to train on
FIT, CALIBRATION, EVALUATION = 0, 1, 2
STRATA = 10  # shares of equal size that numbers are cut into


def split_places(
    y: Integers, part: NDArray[np.int8] | None, seed: int, n_classes: int, fit_share: float | None = None
) -> dict[str, Integers]:
    """Sorted places, int64, under the keys fit, calibration and evaluation: disjoint, together all of `y`.

    `y` int64 `(N,)` in `[0, n_classes)`; `part` int8 `(N,)` is an own split (0 fit, 1 calibration, 2 evaluation).
    Without one, a third goes to calibration (at most 5,000), a fifth to fit where there are more than 3,000
    examples, the rest to evaluation, each class within one example of its share in calibration and evaluation;
    a class with one example goes to evaluation. An own split is kept; where it names only fit and evaluation,
    calibration is taken out of fit; only fit and calibration: calibration is divided; only one part: so is that.

    `fit_share`, from 0 to 0.8, is the share of all examples to set aside to fit instead of that fifth, however few
    there are; calibration then takes at most half of the rest. Of an own fit part, which is kept, that share or two
    thirds of it are not calibrated on.
    Raises `TemperError` for fewer than 4 examples, one class, where nothing is left to calibrate on, or where a share
    is asked for that is out of range, less than one example, or of an own split in two without a fit part.
    """
    _check(y, n_classes)
    wanted = None if fit_share is None else _wanted(len(y), fit_share)
    every = np.arange(len(y))
    named = set() if part is None else set(np.unique(part).tolist())
    if part is None or len(named) == 1:
        found = _divided(y, every, seed, _plenty(len(y)) if wanted is None else wanted)
        if wanted and not len(found["fit"]):
            raise TemperError(
                f"Of {len(y):,} examples none is left to train on beside those that calibrate and judge.",
                "Give more examples, or train on none.",
            )
        return found
    if wanted and FIT not in named:
        raise TemperError(
            "The data's own split names what calibrates and what evaluates, and nothing to train on.",
            "Name a part to train on in it (fit or train), or leave the split out and say the share alone.",
        )
    if named >= {CALIBRATION, EVALUATION}:
        return {
            name: every[part == code]
            for name, code in (("fit", FIT), ("calibration", CALIBRATION), ("evaluation", EVALUATION))
        }
    if named == {FIT, CALIBRATION}:
        return {**_divided(y, every[part == CALIBRATION], seed, 0), "fit": every[part == FIT]}
    train, test = every[part == FIT], every[part == EVALUATION]
    size = min(MOST_CALIBRATION, len(train), len(test))
    if wanted:
        size = max(1, min(size, len(train) - min(wanted, 2 * len(train) // 3)))
    counts = np.bincount(y[train], minlength=n_classes)
    taken = _drawn(y, train, _shares(counts, size / len(train), size, counts), seed)
    return {"fit": np.setdiff1d(train, taken), "calibration": taken, "evaluation": test}


def strata_of(y: Labels) -> Integers:
    """What a split is stratified by, int64 `(N,)`: the classes themselves or, for numbers, up to ten equal shares."""
    if y.dtype.kind != "f":
        return y
    shares = max(2, min(STRATA, len(y) // 4))
    ranks = np.empty(len(y), np.int64)
    ranks[np.argsort(y, kind="stable")] = np.arange(len(y))
    return ranks * shares // len(y)


def halves(y: Labels) -> tuple[Integers, Integers]:
    """Places of two halves, int64, sorted and disjoint, alike in the classes or the spread of `y` `(N,)`."""
    shuffled = np.random.default_rng(0).permutation(len(y))
    order = shuffled[np.argsort(strata_of(y)[shuffled], kind="stable")]
    return np.sort(order[0::2]), np.sort(order[1::2])


def _check(y: Integers, n_classes: int) -> None:
    if not len(y):
        raise TemperError("There are no examples.", "Give at least 4, of two classes.")
    if y.min() < 0 or y.max() >= n_classes:
        raise TemperError(f"Labels must lie between 0 and {n_classes - 1}; they run from {y.min()} to {y.max()}.")
    if len(np.unique(y)) < 2:
        held = "The only example is" if len(y) == 1 else f"All {len(y):,} examples are"
        raise TemperError(f"{held} of one class; a classifier needs two.", "Add another class.")
    if len(y) < 4:
        raise TemperError(f"At least 4 examples are needed for disjoint splits; got {len(y)}.", "Add some.")


def _plenty(n: int) -> int:
    """How many of `n` examples are set aside to fit where nobody asked."""
    return int(FIT_SHARE * n) if n > FIT_FROM else 0


def _wanted(n: int, share: float) -> int:
    """How many of `n` examples a share is. Raises `TemperError` where it is none, or not from 0 to `MOST_FIT`."""
    if not 0 <= share <= MOST_FIT:
        raise TemperError(
            f"The share of the examples to train on lies between 0 and {MOST_FIT:g}; got {share:g}.",
            "The rest calibrates and judges.",
        )
    if share and not int(share * n):
        raise TemperError(f"A share of {share:g} of {n:,} examples is less than one to train on.", "Give more.")
    return int(share * n)


def _divided(y: Integers, places: Integers, seed: int, fit: int) -> dict[str, Integers]:
    """A split of some places: `fit` of them to fit, a third but at most half of the rest to calibration."""
    n, counts = len(places), np.bincount(y[places])
    calibration = min(n // 3, MOST_CALIBRATION, (n - fit) // 2)
    spare = np.where(counts > 1, counts - 1, 0)  # one of each class stays for evaluation
    if not spare.any() or not calibration:
        raise TemperError(
            f"{n} examples cannot be split: no class has one to calibrate on and one to judge by.",
            "Give at least two examples of a class." if not fit else "Give more examples, or train on less.",
        )
    usable = np.where(counts > 1, counts, 0)
    both = _shares(usable, (calibration + fit) / n, max(1, round(usable.sum() * (calibration + fit) / n)), spare)
    ours = _shares(usable, calibration / n, max(1, round(usable.sum() * calibration / n)), both)
    drawn = _drawn(y, places, both, seed)
    taken = _drawn(y, drawn, ours, seed + 1)
    return {
        "fit": np.setdiff1d(drawn, taken),
        "calibration": taken,
        "evaluation": np.setdiff1d(places, drawn),
    }


def _shares(counts: Integers, share: float, total: int, most: Integers) -> Integers:
    """How many of each class: `counts * share`, rounded so that they add up to `total`, none beyond `most`."""
    exact = counts * share
    whole = np.minimum(np.floor(exact).astype(np.int64), most)
    order = np.argsort(whole - exact, kind="stable")  # the largest remainders first
    order = order[(whole < most)[order]]
    whole[order[: max(0, total - int(whole.sum()))]] += 1
    return whole


def _drawn(y: Integers, places: Integers, shares: Integers, seed: int) -> Integers:
    """`shares[c]` places of each class c, at random, sorted."""
    mixed = np.random.default_rng(seed).permutation(places)
    mixed = mixed[np.argsort(y[mixed], kind="stable")]
    counts = np.bincount(y[mixed], minlength=len(shares))
    rank = np.arange(len(mixed)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(mixed[rank < np.asarray(shares)[y[mixed]]])


def stratified_part(groups: Integers, keep: int, seed: int) -> Integers:
    """Sorted places of `keep` examples, each group in proportion and, where they fit, none left empty.

    `groups` int64 `(N,)` numbers from 0 up; all places where `keep` is N or more.
    """
    if keep >= len(groups):
        return np.arange(len(groups))
    counts = np.bincount(groups)
    shares = _shares(counts, keep / len(groups), keep, counts)
    if keep >= (counts > 0).sum():
        shares = np.maximum(shares, counts > 0)
        for group in np.argsort(-shares, kind="stable"):  # what the small ones got, the largest give
            given = min(int(shares.sum()) - keep, int(shares[group]) - 1)
            shares[group] -= max(given, 0)
    return _drawn(groups, np.arange(len(groups)), shares, seed)


def groups_of(x: NDArray[Any]) -> Integers:
    """A number for each example, int64 `(N,)`, the same for those with the same bytes, or the same text."""
    if x.dtype == object:
        known: dict[str, int] = {}
        return np.array([known.setdefault(text, len(known)) for text in x.tolist()], np.int64)
    hashes = np.fromiter((hash(row.tobytes()) for row in x), np.int64, len(x))
    return np.unique(hashes, return_inverse=True)[1].astype(np.int64)


def leaked(groups: Integers, places: dict[str, Integers]) -> int:
    """How many evaluation examples are identical to one of calibration or fit."""
    others = groups[np.concatenate([places["fit"], places["calibration"]])]
    return int(np.isin(groups[places["evaluation"]], others).sum())
