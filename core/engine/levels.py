"""Levels of small floating-point formats: values that are not evenly spaced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Levels:
    """A format's finite values, ascending, float32 `(L,)`; zero is one of them, at the place `zero`."""

    name: str
    values: Tensor

    @cached_property
    def zero(self) -> int:
        """Where zero stands."""
        return int((self.values == 0).nonzero()[0])

    @property
    def bits(self) -> int:
        """Bits that tell the levels apart."""
        return (len(self.values) - 1).bit_length()

    def nearest(self, x: Tensor) -> Tensor:
        """Place int32 of the level nearest to each value, the ends for what lies beyond them.

        Halfway between two levels the one of even distance from zero is taken: in a floating-point format that is
        the one whose last digit is 0, as IEEE 754 rounds.
        """
        middles = (self.values[1:] + self.values[:-1]) / 2
        lower, upper = torch.bucketize(x, middles), torch.bucketize(x, middles, right=True)
        return torch.where((lower - self.zero) % 2 == 0, lower, upper).to(torch.int32)


def _float_levels(exponent: int, mantissa: int, bias: int, left_out: int) -> Tensor:
    """Finite values of a sign, `exponent` and `mantissa` bits; the `left_out` largest codes mean something else."""
    codes = torch.arange(2 ** (exponent + mantissa) - left_out)
    power, digits = codes >> mantissa, (codes & (2**mantissa - 1)).double() / 2**mantissa
    size = torch.where(power > 0, 1 + digits, digits) * 2.0 ** (power.clamp(min=1) - bias).double()
    return torch.cat([-size[1:].flip(0), size]).float()


def _normal_float() -> Tensor:
    """Sixteen quantiles of the normal distribution: seven below zero, zero, eight above, scaled to end at 1.

    Evenly spaced in probability on either side, so that each level stands for about as many weights.
    """
    tail = (1 / 30 + 1 / 32) / 2  # the mean of half a step of sixteen and of fifteen levels
    positive = torch.special.ndtri(torch.linspace(1 - tail, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -torch.special.ndtri(torch.linspace(1 - tail, 0.5, 8, dtype=torch.float64)[:-1])
    values = torch.cat([negative, torch.zeros(1, dtype=torch.float64), positive.flip(0)])
    return (values / values.abs().max()).float()


@cache
def levels(name: str) -> Levels:
    """The levels of `nf4`, `e4m3`, `e5m2` or `e2m1`.

    NF4: Dettmers et al. 2023, QLoRA, arXiv 2305.14314. The 8-bit formats: OCP 8-bit floating point and Micikevicius
    et al. 2022, arXiv 2209.05433; e4m3 has no infinities and one NaN. The 4-bit e2m1: OCP microscaling formats.
    """
    made = {
        "nf4": _normal_float,
        "e4m3": lambda: _float_levels(4, 3, 7, 1),
        "e5m2": lambda: _float_levels(5, 2, 15, 4),
        "e2m1": lambda: _float_levels(2, 1, 1, 0),
    }
    return Levels(name, made[name]())
