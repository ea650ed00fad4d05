"""When a trial is hopeless: the median rule, so that the time goes where there is something to win."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

Curve = Sequence[tuple[float, float]]  # share of the steps done, and the loss there
EARLIEST = 0.2  # share of the steps before which none is stopped: the rate rises in the first twentieth
FEWEST = 3  # finished trials that a median is taken of
SLACK = 1e-9


def hopeless(mine: Curve, finished: Sequence[Curve]) -> bool:
    """Whether the least loss so far lies above the median of what finished trials had reached by then.

    The median stopping rule (Golovin et al. 2017, Google Vizier, doi 10.1145/3097983.3098043), with the least loss so
    far on both sides. It depends on nothing but the curves: the same trials stop at the same looks.
    """
    learned = [(share, loss) for share, loss in mine if share > 0]
    if not learned or learned[-1][0] < EARLIEST or len(finished) < FEWEST:
        return False
    here = learned[-1][0] + SLACK
    reached = [[loss for share, loss in curve if 0 < share <= here] for curve in finished]
    least = [min(losses) for losses in reached if losses]
    return len(least) >= FEWEST and min(loss for _, loss in learned) > median(least)
