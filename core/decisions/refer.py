"""Selective prediction: the least sure examples are referred to a person, the others decided.

Chow 1970, doi 10.1109/TIT.1970.1054406; El-Yaniv and Wiener 2010 (JMLR 11); Geifman and El-Yaniv 2017 (arXiv
1705.08500). How sure a call is, is how far its log-odds lie from those of the threshold; at a threshold of one half
that orders examples as the probability of the predicted class does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.decisions.decide import rate
from core.decisions.thresholds import ROUNDING, Flags
from core.errors import TemperError
from core.types import Floats, Quantity

NOBODY = -math.inf  # the least sureness that refers nobody
ALL = math.inf  # and everybody
EDGE = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Selective:
    """Calls in the order of how sure they are, the surest first: arrays `(N,)`.

    `risk[k]` is the share of errors among the `k + 1` surest; of equally sure ones each is taken as the mean of
    them, since nothing says which is referred first.
    """

    sureness: Floats
    wrong: Flags
    risk: Floats

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.wrong)

    @property
    def referred(self) -> Floats:
        """The share referred at each point of `risk`, falling to 0."""
        return 1 - np.arange(1, self.n + 1) / max(self.n, 1)

    @property
    def area(self) -> float:
        """Area under the risk-coverage curve (AURC): the mean risk over all shares decided."""
        return float(self.risk.mean()) if self.n else 0.0


def selective(scores: Floats, positive: Flags, threshold: float = 0.5) -> Selective:
    """The risk-coverage curve of calling an example positive at scores of `threshold` or more."""
    sure = np.abs(_log_odds(scores) - _log_odds(np.array(min(threshold, 1.0))))
    return by_sureness(sure, (scores >= threshold) != positive)


def by_sureness(sureness: Floats, wrong: Flags) -> Selective:
    """The risk-coverage curve of calls `(N,)`, each so sure and wrong or not; of any number of classes."""
    order = np.argsort(-sureness, kind="stable")
    sure, wrong = sureness[order], wrong[order]
    _, first, count = np.unique(-sure, return_index=True, return_counts=True)
    shared = np.repeat(np.add.reduceat(wrong, first, dtype=np.float64) / count, count) if len(sure) else sure
    return Selective(sure, wrong, np.cumsum(shared) / np.arange(1, len(sure) + 1))


def _log_odds(p: Floats) -> Floats:
    found: Floats = np.log(np.maximum(p, EDGE)) - np.log(np.maximum(1 - p, EDGE))
    return found


def at_share(of: Selective, share: float) -> float:
    """The least sureness that is decided when as near as can be to a `share` of these examples is referred.

    Equally sure examples are referred together. Raises `TemperError` unless the share lies between 0 and 1.
    """
    if not (isinstance(share, int | float) and 0 <= share <= 1):
        raise TemperError(f"The share to refer must be a number from 0 to 1; got {share!r:.40}.")
    cuts, referred = _cuts(of)
    away = np.abs(referred - share)
    return float(cuts[np.argmin(away)])


def at_risk(of: Selective, wish: float) -> float | None:
    """The least sureness to decide such that at most a share `wish` of those decided here is wrong.

    The smallest share to refer that does so, or None where only referring everybody would. Raises `TemperError`
    unless the wish lies between 0 and 1.
    """
    if not (isinstance(wish, int | float) and 0 <= wish <= 1):
        raise TemperError(f"The error wished for must be a share from 0 to 1; got {wish!r:.40}.")
    cuts, referred = _cuts(of)
    decided = np.round((1 - referred) * of.n).astype(np.int64)
    wrong = np.r_[0, np.cumsum(of.wrong, dtype=np.int64)][decided]
    good = np.flatnonzero((decided > 0) & (wrong <= wish * decided + ROUNDING))
    return float(cuts[good[0]]) if len(good) else None


def _cuts(of: Selective) -> tuple[Floats, Floats]:
    """Every sureness that can part the examples, rising from nobody to everybody, and the share it refers.

    Each cut lies midway between neighbours, so that it means the same on other examples.
    """
    last = np.flatnonzero(np.diff(of.sureness))  # the last of each group of equals but the least sure one
    upper, lower = of.sureness[last], of.sureness[last + 1]
    between = np.where((upper + lower) / 2 > lower, (upper + lower) / 2, upper)
    cuts = np.concatenate([[ALL], between, [NOBODY]])[::-1]
    decided = np.concatenate([[0], last + 1, [of.n]])[::-1]
    return cuts, 1 - decided / max(of.n, 1)


@dataclass(frozen=True)
class Referral:
    """A cut-off judged on some examples: the share referred, errors among those decided, and among everyone."""

    cut: float
    referred: Quantity
    risk: Quantity
    everyone: Quantity

    @property
    def decided(self) -> int:
        """Number of examples decided."""
        return self.risk.n or 0


def judge_referral(of: Selective, cut: float) -> Referral:
    """Judge a least sureness on the examples of a curve, with Wilson's intervals."""
    kept = of.sureness >= cut
    decided = int(kept.sum())
    return Referral(
        cut,
        rate(of.n - decided, of.n, "there is no example"),
        rate(int(of.wrong[kept].sum()), decided, "every example is referred"),
        rate(int(of.wrong.sum()), of.n, "there is no example"),
    )
