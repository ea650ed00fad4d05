"""The multiple-choice knapsack: of every layer one option, the least harm in all, within every limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError
from core.types import Floats

FINE = 1e6  # the largest harm as the solver sees it: it stops within 1e-6 of the optimum, here 1e-12 of that harm
Table = Sequence[Sequence[float]]  # a row a layer, a number an option
TRIES = 5  # solutions beyond a limit by the solver's tolerance that are cut off before it is called a fault


def least(amounts: Table) -> float:
    """The smallest sum that any choice has."""
    return math.fsum(min(row) for row in amounts)


def choose(harm: Table, limits: Sequence[tuple[Table, float]]) -> tuple[int, ...] | None:
    """The option of each layer with the least summed harm, where each `(amounts, most)` adds up to at most `most`.

    None where no choice fits. Solved as an integer program to its optimum by branch and bound (Sinha and Zoltners
    1979, The multiple-choice knapsack problem, doi 10.1287/opre.27.3.503; HiGHS: Huangfu and Hall 2018, doi
    10.1007/s12532-017-0130-5). Its tolerance is some 1e-6 of a limit; a choice beyond the limit is cut off and the
    search repeated, so that what is returned fits exactly.
    """
    if any(least(amounts) > most for amounts, most in limits):
        return None
    for number, row in enumerate(harm):
        if not row or any(len(amounts[number]) != len(row) for amounts, _ in limits):
            raise ValueError(f"Layer {number} must have the same options, at least one, in every table.")
    from scipy import optimize, sparse  # a third of a second, wanted here alone

    sizes = [len(row) for row in harm]
    place = np.repeat(np.arange(len(sizes)), sizes)
    count = len(place)
    one_each = sparse.csr_array((np.ones(count), (place, np.arange(count))), shape=(len(sizes), count))
    rules = [optimize.LinearConstraint(one_each, 1, 1)]
    flats = [(_flat(amounts), most) for amounts, most in limits]
    for flat, most in flats:
        scale = max(float(flat.max(initial=0)), abs(most)) or 1.0
        rules.append(optimize.LinearConstraint((flat / scale)[None], -np.inf, most / scale))
    cost = _flat(harm)
    scale = float(np.abs(cost).max(initial=0)) or 1.0
    for _ in range(TRIES):
        found = optimize.milp(
            FINE * cost / scale, integrality=np.ones(count), bounds=optimize.Bounds(0, 1), constraints=rules,
            options={"mip_rel_gap": 0.0},
        )  # fmt: skip
        if found.status == 2:  # proven that nothing fits
            return None
        if found.x is None:
            break
        taken = found.x > 0.5
        if all(math.fsum(flat[taken]) <= most for flat, most in flats):
            ends = np.flatnonzero(taken) - np.concatenate([[0], np.cumsum(sizes)[:-1]])
            return tuple(int(end) for end in ends)
        rules.append(optimize.LinearConstraint(taken.astype(float)[None], -np.inf, len(sizes) - 1))
    raise TemperError(
        "The search for an allocation ended without a proven answer.", "Offer fewer bits to choose from."
    )


def _flat(table: Table) -> Floats:
    found: NDArray[np.float64] = np.array([value for row in table for value in row], np.float64)
    return found
