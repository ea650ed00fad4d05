"""The sweeps of this process: started once, found again by every page and visitor, run in the background.

One sweep computes at a time; the next waits its turn. A visitor who leaves loses nothing: the sweep goes on, and what
it found is in its journal.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from core.data.handle import DataHandle
from core.errors import TemperError
from core.jobs.steered import Steered
from core.jobs.workers import workers
from core.models.handle import ModelHandle
from core.sweeps.plan import Plan
from core.sweeps.sweep import Sweep

LOG = logging.getLogger("temper")
KEPT = 16  # sweeps remembered here; older ones are read from their journals again


@dataclass
class Desk:
    """Sweeps by model, data and plan, and whatever else was begun here."""

    _sweeps: OrderedDict[tuple[str, ...], Sweep] = field(default_factory=OrderedDict)
    _jobs: list[Steered] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def find(self, model: ModelHandle, data: DataHandle, plan: Plan) -> Sweep:
        """The sweep of a plan, running or at rest, with what its journal keeps."""
        key = (model.fingerprint, data.fingerprint, plan.fingerprint, str([a.name for a in plan.axes]))
        with self._lock:
            if key not in self._sweeps:
                self._sweeps[key] = Sweep(model, data, plan)
            self._sweeps.move_to_end(key)
            for old in list(self._sweeps)[:-KEPT]:
                if not self._sweeps[old].alive:
                    del self._sweeps[old]
            return self._sweeps[key]

    def start(self, job: Steered) -> None:
        """Run a sweep or a search in the background, or go on with it."""
        with self._lock:
            if job.alive:
                job.resume()
                return
            job.ready()
            self._jobs = [*(other for other in self._jobs if other.alive and other is not job), job]
        threading.Thread(target=self._run, args=(job,), name="sweep", daemon=True).start()

    def stop(self) -> None:
        """Cancel everything; journals keep what they have."""
        for job in [*self._jobs, *self._sweeps.values()]:
            job.cancel()

    def _run(self, job: Steered) -> None:
        try:
            with self._turn, workers(job.lanes) as hands:
                job.run(hands)
        except TemperError:
            LOG.info("a sweep or search ended: %s", job.standing().note)
        except Exception:  # a fault of ours: the job says that it failed, the log has the trace
            LOG.exception("in a sweep or search")


DESK = Desk()
atexit.register(DESK.stop)
