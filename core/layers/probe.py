"""Layer sensitivity in the background. What is finished is kept by `sensitivity` itself, also over a restart."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.handle import DataHandle
from core.engine.runtime import Progress
from core.jobs.background import Background
from core.layers.sensitivity import Sensitivity, known, sensitivity
from core.models.handle import ModelHandle

WIDTHS = (2, 3, 4, 8)  # bits of each layer alone


@dataclass(eq=False)
class Probe(Background):
    """The measurement of one model on one data set."""

    model: ModelHandle
    data: DataHandle
    widths: tuple[int, ...] = WIDTHS

    def found(self) -> Sensitivity | None:
        """The result, measured now or long ago; None where there is none. Nothing is computed."""
        return None if self.alive else known(self.model, self.data, self.widths)

    def start(self) -> threading.Thread | None:
        """Begin, unless it is under way already."""

        def measure(told: Progress) -> None:
            sensitivity(self.model, self.data, self.widths, told)

        return self.begin("probe", measure)


_PROBES: dict[tuple[str, str, tuple[int, ...]], Probe] = {}
_LOCK = threading.Lock()


def probe(model: ModelHandle, data: DataHandle, widths: Sequence[int] = WIDTHS) -> Probe:
    """The measurement of a model and its data, at work or at rest; the same for every visit of this process."""
    key = (model.fingerprint, data.fingerprint, tuple(widths))
    with _LOCK:
        return _PROBES.setdefault(key, Probe(model, data, tuple(widths)))
