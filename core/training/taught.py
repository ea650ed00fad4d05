"""What a teacher brought: the student with it against the same student alone, and how far both answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.data.handle import DataHandle, SplitName, load_split, split_for_fitting
from core.deploy.graph import assemble
from core.engine import store
from core.engine.evaluate import BACKEND, size, versions
from core.engine.lane import lane, rest
from core.engine.meaning import meaning
from core.engine.memory import RESULTS
from core.engine.network import load_network
from core.engine.runtime import Progress, predictor, run, usual_chunk
from core.engine.statistics import difference
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.training.boosted import boosted
from core.training.teachers import ORIGINAL, Known, teacher
from core.training.worker import with_last
from core.types import Outcome, Provenance, Quantity, Result


@dataclass(frozen=True)
class Side:
    """One of those compared: its measures by name, its agreement with the teacher and its size.

    `agreement` is the share of examples on which it answers as the teacher, or the root mean square gap of numbers.
    `confidence` is the mean probability of its answers, None of numbers. It takes `bytes`, packed, or is `trees`.
    """

    values: Mapping[str, float]
    agreement: float
    confidence: float | None
    bytes: int | None
    trees: int | None = None


@dataclass(frozen=True)
class Taught:
    """Teacher and students on the evaluation split of `n` examples, by who: teacher, before, alone, taught.

    `over_alone` is the paired difference of the taught student to the same one alone, by measure and `agreement`;
    `over_before` that to the student before learning. Either is empty where the one is not known.
    """

    n: int
    lead: str
    sides: Mapping[str, Side]
    over_alone: Mapping[str, Quantity]
    over_before: Mapping[str, Quantity]


def measures(data: DataHandle) -> tuple[str, ...]:
    """What sides are compared by."""
    return ("accuracy", "ece", "nll") if data.task.decides else ("rmse", "mae")


def answers(
    known: Known,
    data: DataHandle,
    split: SplitName,
    rows: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The teacher's outputs `(N, C)` on a split of the student's data, or on some `rows` of it. Remembered.

    Of the fit split trees tell what those of other folds say, as they do where they teach.
    """  # fmt: skip
    place = (known.fingerprint, data.fingerprint, split, "all" if rows is None else str(hash(rows.tobytes())))

    def compute() -> NDArray[np.float32]:
        kept = store.load(place) if rows is None else None
        if kept is not None:
            return kept
        loaded = load_split(data, split) if split == "evaluation" else split_for_fitting(data, split)
        inputs = loaded.inputs if rows is None else loaded.inputs[rows]
        with lane():
            if known.model is None:
                trees = boosted(data)
                found = trees.told if split == "fit" else trees.answer(inputs)
                found = found[rows] if split == "fit" and rows is not None else found
            else:
                predict = predictor(assemble(load_network(known.model)))

                def told(fraction: float) -> None:
                    rest()
                    if progress is not None:
                        progress(fraction)

                found = run(lambda x: predict(known.read(x)), inputs, told, usual_chunk(inputs.shape[1:]))
        if rows is None:
            store.save(place, found)
        return found

    return RESULTS.remember(("teacher", *place), compute, lambda found: found.nbytes)


def judging(known: Known, data: DataHandle, progress: Progress | None = None) -> Outcome:
    """The teacher on the evaluation split. Raises `TemperError`."""
    logits = np.array(answers(known, data, "evaluation", progress=progress))
    labels = load_split(data, "evaluation").y
    made = Provenance(known.fingerprint, data.fingerprint, Recipe().fingerprint, BACKEND, 0.0, versions())
    return Outcome(logits, meaning(data.task, logits), labels, data.task, made)


def taught(
    known: Known,
    data: DataHandle,
    before: Result,
    after: Result | None = None,
    alone: Result | None = None,
    progress: Progress | None = None,
) -> Taught:
    """Compare a teacher with its student before learning, after it, and after learning alone, as far as known."""
    by = judging(known, data, progress)
    trees = boosted(data).trees if known.model is None else None
    packed = size(load_network(known.model)).packed if known.model is not None else None
    sides = {"teacher": replace(_side(by, by, data, packed), trees=trees)}
    for name, result in (("before", before), ("alone", alone), ("taught", after)):
        if result is not None:
            sides[name] = _side(result.tempered, by, data, result.bytes.packed)
    over_alone = _differences(alone.tempered, after.tempered, by, data) if after and alone else {}
    over_before = _differences(before.tempered, after.tempered, by, data) if after else {}
    return Taught(by.n, data.task.facts.headline, sides, over_alone, over_before)


def alone_of(recipe: Recipe) -> Recipe:
    """The recipe whose last training, of a student, has no teacher: the same start, order, steps and rate."""
    return with_last(recipe, mix=0.0, teacher=ORIGINAL, temperature=1.0)


def teacher_of(recipe: Recipe, model: ModelHandle, data: DataHandle) -> Known | None:
    """The teacher of a recipe's last distillation, None where there is none. Raises `TemperError`."""
    steps = [step for step in recipe.steps if (step.kind, step.method) == ("train", "distil")]
    if not steps or not steps[-1].values["mix"]:
        return None
    return teacher(str(steps[-1].values["teacher"]), model, data)


def _side(of: Outcome, by: Outcome, data: DataHandle, packed: int | None) -> Side:
    values = {name: method("metric", name).function.of(of) for name in measures(data)}
    as_labels = _facing(of, by)
    agreement = method("metric", _agreeing(data)).function.of(as_labels)
    return Side(values, agreement, float(of.confidence.mean()) if data.task.decides else None, packed)


def _agreeing(data: DataHandle) -> str:
    return "accuracy" if data.task.decides else "rmse"


def _facing(of: Outcome, by: Outcome) -> Outcome:
    """An outcome judged by the teacher's answers in the place of the labels."""
    return replace(of, labels=by.predictions if of.task.decides else by.values.copy())


def _differences(before: Outcome, after: Outcome, by: Outcome, data: DataHandle) -> dict[str, Quantity]:
    found = {name: difference(name, before, after) for name in measures(data)}
    return found | {"agreement": difference(_agreeing(data), _facing(before, by), _facing(after, by))}
