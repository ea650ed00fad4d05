"""The trials of one search in Optuna's journal file, which outlives the server; in memory where there is no file.

Every trial is drawn by a sampler of its own, seeded by the search's seed and the number of trials before it, from
finished trials only; one that a kill left half done is never looked at. What is drawn therefore depends on nothing
but the seed and those trials: a search that was killed and goes on tries the same recipes as one that was not. One
process at a time writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from core import fingerprint
from core.errors import TemperError
from core.recipe import Recipe
from core.registry import Value

SamplerName = Literal["tpe", "nsga2"]
SAMPLERS: Mapping[SamplerName, str] = {"tpe": "Tree-structured Parzen estimator", "nsga2": "NSGA-II"}
POPULATION = 12  # of NSGA-II: with the usual 50 a search of a minute would never leave its first generation
STARTUP = 10  # trials drawn at random before the Parzen estimator has something to learn from
KEPT, JUDGED = "kept", "judged"  # names of what we store beside Optuna's own record
FULL = "There is no room to keep the trials on disk; they last as long as this program runs."


class _Held:
    """Optuna's lock of a file: our own lock is held for as long as a search writes, and ends with the process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class Trials:
    """The finished trials of a search named `key`, and the way to the next one. Used by one thread at a time."""

    startup = STARTUP

    def __init__(self, path: Path | None, key: str, up: bool, seed: int, sampler: SamplerName) -> None:
        self.path = path
        self.key = key
        self.up = up
        self.seed = seed
        self.sampler: SamplerName = sampler
        self.note = ""
        self._lock: int | None = None
        self._study: Any = None
        if path is not None and path.exists():
            try:
                self._study = self._load(path)
            except _Damaged:
                self.note = f"The journal of an earlier search ({path.name}) is damaged and cannot be read."

    def begin(self) -> None:
        """Take the journal for this process: what another one wrote meanwhile is read, what is torn is mended.

        A damaged journal is set aside under another name, and an empty one begun. Raises `TemperError` where another
        process writes it, or where it is of another search.
        """
        self.note = ""
        if self.path is None:
            self._study = self._study or self._new(None)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
            _mend(self.path)
            try:
                self._study = self._load(self.path)
            except _Damaged:
                aside = _aside(self.path)
                self.note = (
                    f"The journal of an earlier search was damaged. It was set aside as {aside.name}, and the search "
                    "began afresh; nothing else was lost."
                )
                self._study = self._load(self.path)
        except OSError:
            self._forget_file()

    def end(self) -> None:
        """Let other processes write the journal."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What was kept of each finished trial, in order."""
        return [json.loads(one.user_attrs[KEPT]) for one in self._done()]

    @property
    def judged(self) -> dict[str, dict[str, Any]]:
        """What was kept of each recipe that was judged, by the recipe's fingerprint."""
        found = self._study.user_attrs if self._study is not None else {}
        return {
            name.removeprefix(JUDGED): json.loads(text) for name, text in found.items() if name.startswith(JUDGED)
        }

    def ask(self, space: Any, start: Mapping[str, Any] | None) -> tuple[Any, Recipe]:
        """The next trial and its recipe out of `space`; `start` fixes some dimensions."""
        return self._writing(lambda: self._ask(space, start))

    def tell(
        self, trial: Any, kept: dict[str, Any], values: tuple[float, ...] | None, over: Mapping[str, float]
    ) -> None:
        """Finish a trial: its objectives, None where it has none, and by how much each budget is exceeded."""
        from optuna.trial import TrialState

        def write() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one = trial
                if one.study is not self._study:  # the file was given up meanwhile: the trial is drawn again
                    one = self._copy(trial)
                one.set_user_attr(KEPT, json.dumps(kept | {"drawn": one.params}))
                for name, value in over.items():
                    one.set_constraint(name, value)
                if values is not None:
                    self._study.tell(one, list(values))
                elif kept["error"]:
                    self._study.tell(one, state=TrialState.FAIL)
                else:
                    self._stopped(one, kept)

        self._writing(write)

    def _stopped(self, trial: Any, kept: Mapping[str, Any]) -> None:
        raise NotImplementedError("a search of recipes stops no trial early")

    def directions(self) -> list[Any]:
        """Which way each objective is better, as Optuna says it."""
        return ["maximize" if self.up else "minimize", "minimize"]

    def judge(self, recipe: Recipe, kept: dict[str, Any]) -> None:
        """Keep what the evaluation split says of a recipe."""
        self._writing(lambda: self._study.set_user_attr(f"{JUDGED}{recipe.fingerprint}", json.dumps(kept)))

    def forget(self) -> None:
        """Remove the journal. Raises `TemperError` where another process writes it."""
        self._study, self.note = None, ""
        if self.path is not None and self.path.exists():
            self._take()
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.end()

    def _ask(self, space: Any, start: Mapping[str, Any] | None) -> tuple[Any, Recipe]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls parts of its interface experimental
            self._study.sampler = self._sampler(len(self._done()), start)
            trial = self._study.ask()

            def draw(name: str, values: tuple[Value, ...]) -> Value:
                if ordered(values):
                    return values[trial.suggest_int(name, 0, len(values) - 1)]
                found: Value = trial.suggest_categorical(name, values)
                return found

            return trial, space.recipe(draw, 0)

    def _sampler(self, number: int, start: Mapping[str, Any] | None) -> Any:
        from optuna import samplers

        seed = int(fingerprint.of_json([self.seed, number])[:8], 16)
        if self.sampler == "nsga2":
            own: Any = samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        else:
            own = samplers.TPESampler(
                n_startup_trials=self.startup, multivariate=True, group=True, constant_liar=False, seed=seed
            )
        return samplers.PartialFixedSampler(dict(start), own) if start else own

    def _done(self) -> list[Any]:
        """Trials that count: those with a result, and those whose recipe could not run."""
        if self._study is None:
            return []
        from optuna.trial import TrialState

        return [
            one
            for one in self._study.get_trials(deepcopy=False)
            if one.state in (TrialState.COMPLETE, TrialState.PRUNED)
            or (one.state == TrialState.FAIL and KEPT in one.user_attrs and json.loads(one.user_attrs[KEPT])["error"])
        ]

    def _new(self, storage: Any) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.create_study(study_name=self.key, storage=storage, directions=self.directions())

    def _load(self, path: Path) -> Any:
        """The study in a file, made where it is empty. Raises `_Damaged`, `OSError`, or `TemperError`: another's."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Held()))  # type: ignore[arg-type]
                names = [one.study_name for one in storage.get_all_studies()]
                if names and self.key not in names:
                    raise TemperError(
                        f"The journal {path.name} is of another search: another model, goal, space or version.",
                        "Name another file, or leave it out.",
                    )
                study = optuna.load_study(study_name=self.key, storage=storage) if names else self._new(storage)
                self._check(study)
                return study
        except (OSError, TemperError):
            raise
        except Exception as error:  # whatever a damaged line makes of Optuna's replay
            raise _Damaged from error

    def _check(self, study: Any) -> None:
        """What Optuna kept and what we kept of a trial agree, or the file is damaged."""
        from optuna.trial import TrialState

        for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            kept = json.loads(one.user_attrs[KEPT])
            if (kept["objectives"], kept["drawn"]) != (list(one.values), one.params):
                raise ValueError("two copies differ")

    def _writing(self, write: Any) -> Any:
        try:
            return write()
        except OSError:
            self._forget_file()
            return write()

    def _forget_file(self) -> None:
        """Without room on disk the trials live on in memory."""
        old, self.path, self.note = self._study, None, FULL
        self._study = self._new(None)
        if old is not None:
            from optuna.trial import TrialState

            finished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
            self._study.add_trials(old.get_trials(deepcopy=False, states=finished))
            for name, text in old.user_attrs.items():
                self._study.set_user_attr(name, text)
        self.end()

    def _copy(self, trial: Any) -> Any:
        """A trial of a study that is gone, begun again in the present one with the same values."""
        from optuna import samplers

        self._study.sampler = samplers.PartialFixedSampler(dict(trial.params), samplers.RandomSampler(seed=0))
        again = self._study.ask()
        for name, distribution in trial.distributions.items():
            again._suggest(name, distribution)
        return again

    def _take(self) -> None:
        if self.path is None or self._lock is not None:
            return
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        handle = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise TemperError(
                "Another Temper is at this very search.", "Wait for it, or stop it; its journal is kept."
            ) from None
        self._lock = handle


class _Damaged(Exception):  # noqa: N818  (becomes a sentence)
    """A journal that cannot be read."""


def ordered(values: tuple[Value, ...]) -> bool:
    """Whether values are numbers, so that neighbours are alike."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def fixed(space: Any, start: Mapping[str, Value]) -> dict[str, Any]:
    """The start's values as dimensions hold them: the place among numbers, else the value itself."""
    found: dict[str, Any] = {}

    def draw(name: str, values: tuple[Value, ...]) -> Value:
        value = start.get(name, values[0])
        if name in start:
            found[name] = values.index(value) if ordered(values) else value
        return value

    space.recipe(draw)
    return found


def _mend(path: Path) -> None:
    """Cut off a last line that a killed process, or a full disk, left torn."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _aside(path: Path) -> Path:
    place = next(p for i in range(1, 10_000) if not (p := path.with_name(f"{path.name}.damaged-{i}")).exists())
    path.rename(place)
    return place
