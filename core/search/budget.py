"""What a person asks of an allocation: at most so many bytes or milliseconds, at most so much lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.deploy.devices import device
from core.errors import TemperError
from core.registry import brief, method
from core.search.layer_options import Way
from core.types import Quantity

BITS = (2, 3, 4, 5, 6, 7, 8, 16)  # that a layer may be offered
MOST_SPARSE = 0.95
USUAL = Way()


@dataclass(frozen=True)
class Budget:
    """At least one of bytes, a factor, a loss or a value to hold; milliseconds beside them.

    `smaller` is times smaller than the original as it is packed. `lose` is how much worse the task's headline may
    become, in its own unit (0.005 of accuracy is half a point), `reach` the value of the headline to hold. `ms` are
    modelled for one example on `device`. Raises `TemperError`.
    """

    most_bytes: int | None = None
    smaller: float | None = None
    lose: float | None = None
    reach: float | None = None
    ms: float | None = None
    device: str = ""
    activation_bits: int = 32
    way: Way = USUAL

    def __post_init__(self) -> None:
        if self.most_bytes is None and self.smaller is None and self.lose is None and self.reach is None:
            raise TemperError(
                "An allocation needs something to hold: a size, a factor or a loss.",
                "Say how many kB at most, how many times smaller, or how much may be lost.",
            )
        if self.lose is not None and self.reach is not None:
            raise TemperError("A loss and a value to reach say the same thing twice.", "Give one of the two.")
        limits = (
            ("size in bytes", self.most_bytes, 1, 1e15), ("factor", self.smaller, 1, 1e6),
            ("loss", self.lose, 0, 1e15), ("value to hold", self.reach, 0, 1e15), ("time in ms", self.ms, 0, 1e9),
        )  # fmt: skip
        for what, value, low, high in limits:
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise TemperError(f"The {what} must be a number from {low:g} to {high:g}; got {value:g}.")
        if (self.ms is None) != (not self.device):
            raise TemperError("Milliseconds are modelled for a named device, and a device needs milliseconds.")
        if self.device:
            device(self.device)
        _checked(self.way)

    @property
    def in_integers(self) -> int:
        """Bits of activations: a time is asked of a network that computes in integers."""
        return min(self.activation_bits, 8) if self.ms is not None else self.activation_bits

    def cap(self, original: int) -> int | None:
        """Bytes at most for a model whose original takes `original`; None where no size was asked."""
        caps = [] if self.most_bytes is None else [self.most_bytes]
        caps += [] if self.smaller is None else [math.floor(original / self.smaller)]
        return min(caps, default=None)

    def floor(self, headline: str, original: Quantity) -> float | None:
        """How much worse the headline may become than the original's value; None where nothing was asked."""
        if self.reach is None or original.value is None:
            return self.lose
        better = method("metric", headline).function.higher_is_better
        return original.value - self.reach if better else self.reach - original.value


def _checked(way: Way) -> None:
    bits = [b for b in way.bits if isinstance(b, int) and not isinstance(b, bool) and b in BITS]
    if not bits or len(set(bits)) < len(way.bits):
        raise TemperError(
            f"Bits to choose from are different ones of {', '.join(map(str, BITS))}; got {brief(way.bits)}."
        )
    shares = [s for s in way.sparsities if isinstance(s, int | float) and 0 <= s <= MOST_SPARSE]
    if 0 not in shares or len(set(shares)) < len(way.sparsities):
        raise TemperError(
            f"Sparsities to choose from are 0 and other shares up to {MOST_SPARSE}; got {brief(way.sparsities)}."
        )
    if way.examples < 1:
        raise TemperError(f"At least one example must be predicted for each option; got {way.examples}.")
