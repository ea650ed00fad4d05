"""Ours: a plain default for every row, and one recipe of a table, chosen on the calibration split.

Every registered pruner takes part by itself; another rounding or pair is a line in `ROUNDINGS` or `JOINT`. The rule,
the same for every row and sample and stated before any evaluation: of the recipes that take at most 1 % more bytes
than the best peer, or no more than our default where there is no peer, the one with the best headline metric on the
calibration split; of equals the one of least NLL, then the first. Only it and the default are then judged on the
evaluation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.quality.made import OURS, Made, kept
from benchmarks.quality.rows import Row
from benchmarks.quality.subject import Subject
from core.engine.evaluate import calibration_outcomes, evaluate, size
from core.engine.transform import transform
from core.errors import TemperError
from core.recipe import Recipe, from_dict
from core.registry import method, methods

LIBRARY = "Temper"
Steps = list[dict[str, Any]]


def _step(kind: str, name: str, **params: Any) -> dict[str, Any]:
    return {"kind": kind, "method": name, "params": params}


NORMS = _step("repair", "batch-norm")
BIASES = _step("repair", "bias")

CHANCE = "random"  # a yardstick, never a recommendation


def _pruners(of: str) -> tuple[dict[str, Any], ...]:
    """Every registered pruner of weights (`of` is empty) or of channels, the usual one first."""
    found = []
    for one in methods("prune"):
        shares = [p.of for p in one.parameters if p.name == "sparsity"]
        if shares == [of] and one.name != CHANCE:
            found.append(_step("prune", one.name))
    return tuple(found)


def _scores() -> tuple[dict[str, Any], ...]:
    return _pruners("")


def _whole() -> tuple[dict[str, Any], ...]:
    """Pruners of channels, ranked in each way; in multiples of one, so that the counts are those asked for."""
    scopes = ({"scope": "layer", "multiple": 1}, {"scope": "network", "multiple": 1})
    return tuple({**step, "params": scope} for step in _pruners("channels") for scope in scopes)


MORE = (0.0, 0.005, 0.015, 0.03)  # further channels, to come down to a peer that rounds its counts the other way
ROUNDINGS: tuple[dict[str, Any], ...] = (  # of weights, with and without corrected biases
    {},
    {"range": "mse"},
    {"range": "mse", "rounding": "gptq"},
    {"range": "mse", "rounding": "adaround"},
    {"rounding": "gptq"},
    {"scheme": "affine", "range": "mse", "rounding": "gptq"},
    {"scheme": "affine", "range": "mse", "rounding": "adaround"},
    {"granularity": "group", "group": 32, "range": "mse", "rounding": "gptq"},
    {"granularity": "group", "group": 32, "activation_scales": "dynamic"},
    {"activation_scales": "dynamic", "range": "mse", "rounding": "gptq"},
)
JOINT: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (  # what prunes, and how its weights are then rounded
    (_step("prune", "magnitude-global"), {}),
    (_step("prune", "magnitude-global"), {"range": "mse", "rounding": "gptq"}),
    (_step("prune", "magnitude-lamp"), {"range": "mse", "rounding": "gptq"}),
    (_step("prune", "magnitude-erk"), {"range": "mse", "rounding": "gptq"}),
    (_step("prune", "sparsegpt"), {"range": "mse", "rounding": "gptq"}),
    (_step("prune", "sparsegpt"), {"range": "mse", "rounding": "gptq", "scheme": "affine"}),
)


def recipes(row: Row) -> tuple[Recipe, ...]:
    """The recipes that may stand for a row, the plain default first. Raises `TemperError` for a misstated one."""
    found = dict.fromkeys(from_dict({"version": 1, "steps": steps}) for steps in _candidates(row))
    return tuple(found)


def _candidates(row: Row) -> Iterator[Steps]:
    bits = {"weight_bits": row.weight_bits, "activation_bits": row.activation_bits}
    norms = [NORMS] if row.repaired else []
    if row.rounds and row.sparsity:
        for pruner, rounding in JOINT:
            plain = [_asked(pruner, row.sparsity), *norms, _step("quantize", "uniform", **bits, **rounding)]
            yield plain
            if rounding:
                yield [*plain, BIASES]
    elif row.rounds:
        for rounding in filter(_known, ROUNDINGS):
            plain = [_step("quantize", "uniform", **bits, **rounding)]
            if rounding.get("rounding") != "adaround":
                yield plain
                yield [*plain, BIASES]
            elif row.weight_bits <= (3 if "scheme" in rounding else 4):  # takes longest, and needs levels far apart
                yield [*plain, BIASES]
    else:
        for pruner in _whole() if row.channels else _scores():
            for more in MORE if row.channels else (0.0,):
                plain = [_asked(pruner, (row.channels or row.sparsity) + more), *norms]
                yield plain
                if row.repaired and not row.channels:  # biases of layers that lost channels stay as they are
                    yield [*plain, BIASES]


def _known(rounding: Mapping[str, Any]) -> bool:
    """Whether the quantizer that is registered has all that a line asks for, such as groups."""
    declared = {p.name: p.choices for p in method("quantize", "uniform").parameters}
    return all(name in declared and (not declared[name] or one in declared[name]) for name, one in rounding.items())


def _asked(step: dict[str, Any], share: float) -> dict[str, Any]:
    return {**step, "params": {**step["params"], "sparsity": round(share, 4)}}


def fitting(row: Row, subject: Subject) -> tuple[Recipe, ...]:
    """The recipes of a row that suit the sample: a network without batch-norm has none to re-estimate."""
    found = []
    for recipe in recipes(row):
        steps = tuple(s for s in recipe.steps if not method(s.kind, s.method).why_not(subject.model))
        found.append(Recipe(steps, recipe.seed))
    return tuple(dict.fromkeys(found))


def scored(recipe: Recipe, subject: Subject) -> Made:
    """A recipe's outputs on the calibration split, and its bytes."""

    def make() -> Made:
        try:
            _, tempered = calibration_outcomes(subject.model, subject.data, recipe)
            network, _ = transform(subject.model, subject.data, recipe)
        except TemperError as error:
            return Made(np.zeros((0, 0), np.float32), 0, False, error.message)
        return Made(tempered.logits, size(network).packed)

    return kept(OURS, _key(recipe, subject, "calibration"), make)


def judged(recipe: Recipe, subject: Subject) -> Made:
    """A recipe's outputs on the evaluation split, and its bytes."""

    def make() -> Made:
        result = evaluate(subject.model, subject.data, recipe)
        return Made(result.tempered.logits, result.bytes.packed)

    return kept(OURS, _key(recipe, subject, "evaluation"), make)


def _key(recipe: Recipe, subject: Subject, split: str) -> list[Any]:
    return [subject.model.fingerprint, subject.data.fingerprint, recipe.to_dict(), split]


def choose(row: Row, subject: Subject, budget: int) -> Recipe:
    """The recipe for a row by the rule above; `budget` is in bytes, 0 for no peer."""
    listed = fitting(row, subject)
    budget = budget or scored(listed[0], subject).bytes
    best, best_score = listed[0], (-np.inf, -np.inf)
    for recipe in listed:
        made = scored(recipe, subject)
        if not made.whole or made.bytes > budget or not np.isfinite(made.logits).all():
            continue
        score = _score(subject, made, recipe)
        if score > best_score:
            best, best_score = recipe, score
    return best


def _score(subject: Subject, made: Made, recipe: Recipe) -> tuple[float, float]:
    """The headline on the calibration split, turned so that higher is better, then NLL, which sees what it cannot."""
    outcome = subject.outcome(made.logits, recipe.fingerprint, "calibration")
    names = (subject.data.task.facts.headline, *(["nll"] if subject.data.task.decides else []))
    measures = [method("metric", name).function for name in names]
    found = [one.of(outcome) if one.higher_is_better else -one.of(outcome) for one in measures]
    return found[0], found[-1]


def told(recipe: Recipe) -> str:
    """A recipe in a few words: its methods and what they were given that is not usual."""
    words = []
    for step in recipe.steps:
        usual = {p.name: p.default for p in method(step.kind, step.method).parameters}
        asked = {"sparsity", "weight_bits", "activation_bits"}
        more = [str(v) for n, v in step.values.items() if n not in asked and v != usual[n] and n != "multiple"]
        named = "rounded" if step.method == "uniform" else step.method
        if any(p.of == "channels" for p in method(step.kind, step.method).parameters):
            named = f"{named} {100 * float(step.values['sparsity']):.3g} %"
        words.append(" ".join([named, *(f"({', '.join(more)})" for _ in more[:1])]))
    return ", ".join(words)
