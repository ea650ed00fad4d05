"""What would settle whether a difference of accuracy is real: `detectable`, the other way round."""

from __future__ import annotations

import math

from scipy import special

from core.engine.statistics import NORMAL, POWER, Flips
from core.errors import TemperError
from core.types import Quantity

LEAST_PAIRS = 6  # discordant pairs, all one way, below which the exact test cannot reach 5 %


def labels_needed(rate: float, difference: float) -> int:
    """How many labelled examples show an accuracy difference with 80 % power at the 5 % level.

    `rate` is the share of examples that only one of the two models gets right, `difference` how much more accurate
    one is, 0 < difference <= rate <= 1. Connor's formula for paired proportions (1987, doi 10.2307/2531961), and
    never fewer than what six discordant pairs take. Raises `TemperError`.
    """
    if not (0 < difference <= 1 and 0 <= rate <= 1):
        raise TemperError(
            f"A difference to show lies above 0 and up to 1, a share of flips in 0 to 1; got {difference} and {rate}."
        )
    rate = max(rate, difference)
    high = float(special.ndtri(POWER))
    wanted = (NORMAL * math.sqrt(rate) + high * math.sqrt(rate - difference**2)) ** 2 / difference**2
    return math.ceil(max(wanted, LEAST_PAIRS / difference) - 1e-9)


def more_labels(changed: Flips) -> int | None:
    """How many labels beyond the present ones the difference seen would take, were it the true one; 0 where none.

    None where no difference was seen: no number of labels shows that there is none.
    """
    net = abs(changed.wrong_to_right - changed.right_to_wrong)
    if net == 0 or changed.n == 0:
        return None
    discordant = changed.wrong_to_right + changed.right_to_wrong
    return max(0, labels_needed(discordant / changed.n, net / changed.n) - changed.n)


def more_examples(change: Quantity, shown: float) -> int | None:
    """How many more examples a change of any measure would take to be shown, were the one seen the true one.

    `shown` is the smallest change that the present ones could show; errors shrink with the root of their number. None
    where nothing changed.
    """
    if not change.value or not change.n:
        return None
    return max(0, math.ceil(change.n * (shown / abs(change.value)) ** 2) - change.n)
