"""The rows of the comparison: what every library is asked for, and on which samples."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLES = ("fashion-resnet", "fashion-small", "diamonds", "spam-mail")


@dataclass(frozen=True)
class Row:
    """One demand. 32 bits mean untouched; `sparsity` counts single weights, `channels` whole ones.

    In a `repaired` row both sides re-estimate batch-norm after pruning, on the same calibration inputs; ours may
    use its other repairs too; models without batch-norm have no such rows. In the others nothing is repaired after
    pruning.
    """

    id: str
    title: str
    weight_bits: int = 32
    activation_bits: int = 32
    sparsity: float = 0.0
    channels: float = 0.0
    repaired: bool = False

    @property
    def rounds(self) -> bool:
        """Whether weights are quantized."""
        return self.weight_bits < 32

    @property
    def prunes(self) -> bool:
        """Whether weights or channels are removed."""
        return bool(self.sparsity or self.channels)


def _rows() -> tuple[Row, ...]:
    rows = [Row("W8A8", "W8A8", 8, 8), Row("W4A8", "W4A8", 4, 8)]
    rows += [Row(f"W{bits}", f"W{bits}, weights only", bits) for bits in (4, 3, 2)]
    for repaired in (False, True):
        also, mark = (", repaired", "-repaired") if repaired else ("", "")
        rows += [
            Row(f"sparse-{share}{mark}", f"{share} % sparse{also}", sparsity=share / 100, repaired=repaired)
            for share in (50, 80, 90, 95)
        ]
        rows += [
            Row(f"channels-{share}{mark}", f"{share} % of channels{also}", channels=share / 100, repaired=repaired)
            for share in (30, 50)
        ]
        rows += [Row(f"joint{mark}", f"80 % sparse + W4{also}", 4, sparsity=0.8, repaired=repaired)]
    return tuple(rows)


ROWS = _rows()
