"""The command `damage`: what compression did in plain words, which classes pay, and the examples that flipped."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.damage.disparity import Ends, Gap
    from core.damage.payers import Payers, Rate
    from core.engine.compare import Comparison
    from core.recipe import Recipe
    from core.types import Quantity, Result

LISTED = 20  # flips of each way that are printed; the JSON holds all
Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(commands: Any, read_recipe: Callable[[str], Recipe], progress: Progress, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    damage = commands.add_parser("damage", help="what a recipe breaks: a paragraph, classes, groups and flips")
    add_pair(damage)
    damage.add_argument("--recipe", required=True, metavar="FILE|JSON", help="a recipe file, or the JSON itself")
    damage.add_argument(
        "--why", nargs="?", type=int, const=3, metavar="N", help="explain N examples in both networks, 3 unless given"
    )
    damage.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    damage.set_defaults(run=lambda options: _damage(options, read_recipe(options.recipe), progress, show))


def _damage(options: argparse.Namespace, recipe: Recipe, progress: Progress, show: Print) -> None:
    from core.commands.why import lines_of, reasons_of
    from core.damage.disparity import disparities
    from core.damage.groups import by_group
    from core.damage.payers import payers
    from core.deploy.latency import known
    from core.engine.compare import compare
    from core.engine.evaluate import evaluate
    from core.engine.transform import transform
    from core.figures.plain import account

    model, data = chosen(options)
    result = evaluate(model, data, recipe, progress)
    compared, lead = compare(result), data.task.facts.headline
    by_class = payers(result) if data.task.decides else None
    groups = by_group(data, result, data.groups[0].title, lead) if data.groups else None
    told = account(result, compared, by_class, groups, known(transform(model, data, recipe)[0], data))
    reasons = reasons_of(model, data, recipe, result, options.why, progress) if options.why is not None else None
    gaps = {of.title: disparities(data, result, of.title) for of in data.groups}
    if options.json:
        show(
            {
                "model": model.id, "data": data.id, "n": result.tempered.n, "recipe": recipe.to_dict(),
                "paragraph": " ".join(one.text for one in told),
                "statements": [{"text": one.text, "evidence": one.anchor} for one in told],
                **(_changes(result, compared, by_class) if by_class is not None else {"moved": _moved(result)}),
                **({} if reasons is None else {"why": reasons}),
                "disparities": {title: [_gap(gap) for gap in one.gaps] for title, one in gaps.items()},
            }
        )  # fmt: skip
        return
    print(" ".join(one.text for one in told))
    for line in lines_of(reasons) if reasons is not None else ():
        print(line)
    if by_class is None:
        for row in _moved(result)[:LISTED]:
            print(f"  moved   example {row['example']}: {row['original']:.6g} -> {row['result']:.6g}, "
                  f"truth {row['truth']:.6g}")  # fmt: skip
        return
    for one in by_class.by_loss:
        said = f"recall {_line(one.recall)}  precision {_line(one.precision)}"
        print(f"  class   {one.name:20} n = {one.n:>6,}  {said}")
    for row in _flips(result, LISTED):
        print(f"  {row['way']:7} example {row['example']}, {row['truth']}: {row['original']} "
              f"({row['original_confidence']:.2f}) -> {row['result']} ({row['confidence']:.2f})")  # fmt: skip


def _changes(result: Result, compared: Comparison, by_class: Payers) -> dict[str, Any]:
    from core.damage.settle import more_labels

    flips, test = compared.flips, compared.test
    assert flips is not None and test is not None
    return {
        "mcnemar": {"mid_p": test.mid_p, "exact_p": test.exact_p},
        "detectable": compared.detectable,
        "more_labels": more_labels(flips),
        "classes": [
            {"class": one.name, "n": one.n, "recall": _rate(one.recall), "precision": _rate(one.precision)}
            for one in by_class.classes
        ],
        "compared": by_class.compared,
        "flips": _flips(result, result.tempered.n),
    }


def _flips(result: Result, most: int) -> list[dict[str, Any]]:
    from core.damage.flipped import WAYS, flipped

    names = result.original.classes
    return [
        {
            "way": way, "example": one.index, "truth": names[one.label], "original": names[one.original],
            "original_confidence": one.original_confidence, "result": names[one.tempered],
            "confidence": one.tempered_confidence,
        }
        for way in WAYS
        for one in flipped(result, way, most)
    ]  # fmt: skip


def _moved(result: Result) -> list[dict[str, Any]]:
    from core.engine.numbers import worst

    return [
        {"example": one.place, "truth": one.actual, "original": one.before, "result": one.after}
        for one in worst(result, 100, "moved")
    ]


def _line(rate: Rate) -> str:
    change, ends = rate.change, rate.change.interval
    if change.value is None or ends is None:
        return change.note
    return f"{change.value:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]{' beyond chance' * rate.sure}"


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "original": rate.original.value, "result": rate.tempered.value, "interval": _ends(rate.tempered),
        "difference": rate.change.value, "difference_interval": _ends(rate.change), "sure": rate.sure,
    }  # fmt: skip


def _gap(gap: Gap) -> dict[str, Any]:
    def side(one: Ends | None) -> dict[str, Any] | None:
        return None if one is None else {
            "gap": one.gap.value, "interval": _ends(one.gap), "lowest": one.low, "lowest_rate": one.low_rate,
            "highest": one.high, "highest_rate": one.high_rate,
        }  # fmt: skip

    return {
        "of": gap.name, "n": gap.n, "groups": gap.groups,
        "original": side(gap.original), "result": side(gap.tempered),
        "difference": gap.change.value if gap.change else None,
        "difference_interval": _ends(gap.change) if gap.change else None, "by_chance": gap.chance,
        "too_few": list(gap.left),
    }  # fmt: skip


def _ends(quantity: Quantity) -> list[float] | None:
    return [quantity.interval.low, quantity.interval.high] if quantity.interval else None
