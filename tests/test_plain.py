"""The paragraph of plain words: every number in it is worked out again from the predictions, on many recipes."""

from __future__ import annotations

import json
import re

import harmed
import numpy as np
import pytest
from conftest import prune, quantize, recipe
from sklearn.metrics import confusion_matrix

from core.cli import main
from core.damage.groups import by_group
from core.damage.payers import payers
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.figures.evidence import evidence_table
from core.figures.forgotten import claim, summary
from core.figures.plain import CHANCE, MORE, account
from core.figures.settle import sentence
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import method
from core.types import Latency

NUMBER = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?")
ASKED = (
    recipe(prune(0.6)), recipe(prune(0.8)), recipe(prune(0.9)), recipe(prune(0.95)), recipe(quantize(2, 8)),
    recipe(quantize(3, 4)), recipe(prune(0.5), quantize(2, 8)), recipe(prune(0.8), quantize(3, 8)),
    recipe(prune(0.9), quantize(4, 8), Step.of("calibrate", "temperature")), recipe(quantize(8, 8)),
)  # fmt: skip
ANCHORS = {"size", "real", "flips", "classes", "groups", "moved"}


def spoken(text: str) -> list[str]:
    """The numbers of a text in order, with the names of measures and levels taken out."""
    return NUMBER.findall(text.replace("\u00a0", " "))


def shown(value: float, text: str) -> bool:
    """Whether a number of a text is this value to the digits that are written."""
    bare = text.replace(",", "").replace("−", "-")
    digits = len(bare.partition(".")[2])
    return abs(float(bare) - value) <= 0.5000001 * 10.0**-digits


def tell(sample: str, asked: Recipe, speed: tuple[Latency, Latency] | None = None):
    model, data = load_sample(sample)
    result = evaluate(model, data, asked)
    compared, lead = compare(result), data.task.facts.headline
    groups = by_group(data, result, data.groups[0].title, lead) if data.groups else None
    told = account(result, compared, payers(result) if data.task.decides else None, groups, speed)
    return data, result, compared, told


@pytest.mark.parametrize("asked", ASKED, ids=lambda one: one.notation)
def test_every_number_of_a_paragraph_on_classes(asked):
    data, result, compared, told = tell("breast-cancer", asked)
    y, before, after = (
        result.original.labels, result.original.predicted.argmax(1), result.tempered.predicted.argmax(1),
    )  # fmt: skip
    left = {one.anchor: spoken(one.text) for one in told}
    by = {anchor: [one.text for one in told if one.anchor == anchor] for anchor in left}
    assert set(left) <= ANCHORS
    small, large = result.bytes.packed, result.original_bytes.packed
    numbers = spoken(by["size"][0])
    sizes = (*(size / (1e3 if size >= 1_000 else 1) for size in (small, large)), large / small)
    sizes = sizes if small != large else sizes[:1]
    assert all(map(shown, sizes, numbers)) and len(numbers) == len(sizes)
    n, lost, gained = len(y), ((before == y) & (after != y)).sum(), ((before != y) & (after == y)).sum()
    if (before == after).all():
        assert spoken(by["flips"][0]) == [str(n)] and len(told) == 3
    else:
        assert spoken(by["flips"][0]) == [str(lost), str(gained)]
        right = [str((after == y).sum()), str((before == y).sum())]
        said = by["real"][0]
        if lost == gained:
            assert spoken(said) == [str(n), *right] and "the same number" in said
        else:
            ends = compared.change["accuracy"].interval
            low, high = 100 * ends.low, 100 * ends.high
            if not low <= 0 <= high:
                low, high = sorted((abs(low), abs(high)))
            numbers = spoken(said)
            assert numbers[:3] == [str(n), *right]
            assert all(map(shown, (100 * abs(gained - lost) / n, low, high), numbers[3:])) and len(numbers) == 6
            assert ("fewer" in said) == (lost > gained)
            assert (MORE in said) == (compared.test.mid_p < 0.05) != (CHANCE in said)
        counts = [confusion_matrix(y, of, labels=[0, 1]) for of in (before, after)]
        recalls = [of.diagonal() / of.sum(1) for of in counts]
        fell = recalls[1] - recalls[0]
        said = by["classes"][0]
        if (fell < 0).any():
            sure = [one.recall.sure for one in payers(result).classes]
            losing = np.where(np.array(sure) & (fell < 0), fell - 10, fell).argmin()
            numbers = spoken(said)
            assert data.classes[losing] in said and ("beyond chance" in said) == sure[losing]
            assert shown(100 * recalls[1][losing], numbers[0]) and shown(100 * recalls[0][losing], numbers[1])
            assert numbers[2:] == ([] if sure[losing] else [str(payers(result).compared)])
        else:
            assert spoken(said) == ["2"]
    wrong = [100 * method("metric", "ece").function.of(of) for of in (result.tempered, result.original)]
    numbers = spoken(by["real"][-1])
    assert all(map(shown, wrong, numbers)) and len(numbers) == (1 if "as before" in by["real"][-1] else 2)


@pytest.mark.parametrize("asked", [recipe(quantize(6, 8)), recipe(quantize(3, 8), Step.of("calibrate", "conformal"))],
                         ids=lambda one: one.notation)  # fmt: skip
def test_every_number_of_a_paragraph_on_numbers(asked):
    data, result, compared, told = tell("diamonds", asked)
    y, before, after = result.original.labels, result.original.predicted, result.tempered.predicted
    error = [np.sqrt(np.mean((of[:, 0] - y) ** 2)) for of in (after, before)]
    ends = compared.change["rmse"].interval
    bounds = sorted((abs(ends.low), abs(ends.high))) if ends.low > 0 or ends.high < 0 else (ends.low, ends.high)
    numbers = spoken(told[1].text)
    assert all(map(shown, (len(y), *error, abs(error[0] - error[1]), *bounds), numbers)) and len(numbers) == 6
    size = np.abs(after[:, 0] - before[:, 0])
    assert all(map(shown, (np.median(size), size.max()), spoken(told[2].text)))
    column = by_group(data, result, data.groups[0].title, "rmse")
    name = next((row.name for row in column.known if f", {row.name} changes most" in told[3].text), None)
    if name is None:
        assert spoken(told[3].text) == [str(len(column.known))] and not any(row.sure for row in column.known)
    else:
        row = next(one for one in column.known if one.name == name)
        numbers = spoken(told[3].text.partition("RMSE")[2])
        assert row.sure and all(map(shown, (row.tempered.value, row.original.value), numbers)) and len(numbers) == 2
    held = [100 * compared_with["coverage"].value for compared_with in (compared.tempered, compared.original)]
    assert spoken(told[4].text)[0] == "90" and all(map(shown, held, spoken(told[4].text)[1:]))


def test_where_only_the_intervals_changed_no_number_is_said_to_have_moved():
    _, _, compared, told = tell("diamonds", recipe(Step.of("calibrate", "conformal")))
    texts = [one.text for one in told]
    assert len(told) == 4 and texts[2] == "None of its predictions moved."
    assert texts[1].endswith("US dollars, as before.") and not any("changes" in text for text in texts)
    assert compared.change["coverage"].interval.low > 0 and texts[3].endswith(f"{MORE}.")


@pytest.mark.parametrize("sample", ["breast-cancer", "credit-default", "spam-mail"])
def test_a_broken_model_is_not_spoken_of_softly(sample):
    """All but nothing is left of it: every sentence that could be about chance says that it is not."""
    _, result, compared, told = tell(sample, recipe(prune(0.99), quantize(2, 8)))
    by = {one.anchor: one.text for one in told if one.anchor in ("real", "classes")}
    first = next(one.text for one in told if one.anchor == "real")
    assert compared.test.mid_p < 1e-6 and first.endswith(f"{MORE}.")
    assert payers(result).most.recall.sure and by["classes"].endswith("beyond chance.")
    assert all(re.search(r"\d", one.text) and not re.search(r"nan|inf\b|None", one.text) for one in told)


def test_who_pays_most_of_those_beyond_chance_is_said_so():
    """A small class that lost more, within chance, is not passed over in silence."""
    from dataclasses import replace

    from core.figures.payers import sentence as who

    found = payers(harmed.hurt(900))
    first = found.by_loss[0]
    assert first.recall.sure and "pays most:" in who(found)
    doubted = replace(first, recall=replace(first.recall, sure=False))
    second = found.by_loss[1]
    known = replace(second, recall=replace(second.recall, sure=True))
    put = {first.name: doubted, second.name: known}
    mixed = replace(found, classes=tuple(put.get(one.name, one) for one in found.classes))
    assert mixed.most.name == second.name and f"{second.name} pays most of those beyond chance: " in who(mixed)


def test_groups_and_speed_join_where_they_are_known():
    speed = (Latency(0.54, 0.7, 11.0), Latency(0.293, 0.4, 6.8))
    _, _, _, told = tell("credit-default", recipe(prune(0.5), quantize(4, 8)), speed)
    assert [one.anchor for one in told] == ["size", "real", "flips", "classes", "groups", "real", "size"]
    assert spoken(told[-1].text) == ["0.29", "0.54"]
    assert told[4].text == "By sex, no group of 2 changes beyond chance in accuracy."
    assert all(one.text.endswith(".") and not re.search(r"nan|inf\b|None", one.text) for one in told)
    assert len(tell("credit-default", recipe(quantize(8, 8)), (speed[0], Latency(None, None, None)))[-1]) == 6


def test_the_evidence_says_what_is_settled():
    _, _, compared, _ = tell("credit-default", recipe(prune(0.5), quantize(4, 8)))
    rows = evidence_table(compared).set_index("Measure")
    for name, change in (("Accuracy", compared.change["accuracy"]), ("Macro F1", compared.change["macro_f1"])):
        sure = not change.interval.low <= 0 <= change.interval.high
        assert (
            (rows.loc[name, "Beyond chance"] == "yes")
            == sure
            == (rows.loc[name, "More examples to settle it"] == "settled")
        )
    assert set(rows["Beyond chance"]) == {"yes", "no"}
    assert "more labels would settle it" in sentence(compared.flips)
    same = evidence_table(compare(harmed.same()))
    assert set(same["Beyond chance"]) == {"no change"}


def test_what_is_forgotten_is_said_with_the_claim():
    from core.damage.exemplars import exemplars
    from core.damage.flipped import lead

    found = harmed.hurt(400, 3)
    unsure = lead(found.original) < 0.2
    calls = [np.where(unsure, (found.original.predictions + 1) % 3, found.original.predictions)] * 3
    told = exemplars(found.original, calls)
    numbers = spoken(summary(told))
    assert numbers[:2] == [str(unsure.sum()), "400"] and numbers[2] == "3"
    right = (100 * found.original.correct[of].mean() for of in (unsure, ~unsure))
    assert all(map(shown, right, numbers[3:]))
    said = spoken(claim(told))
    medians = (np.median(lead(found.original)[of]) for of in (unsure, ~unsure))
    assert all(map(shown, medians, said)) and claim(told).startswith("The original is less sure of them: ")
    none = exemplars(found.original, [found.original.predictions] * 2)
    assert summary(none).startswith("No example of 400") and "too few" in claim(none)
    third = np.isin(
        np.arange(400), np.argsort(lead(found.original))[::3]
    )  # no surer and no less sure than the others
    blind = exemplars(
        found.original, [np.where(third, (found.original.predictions + 1) % 3, found.original.predictions)] * 2
    )
    assert claim(blind).startswith("That the original is less sure of them is not shown")


@pytest.mark.parametrize("sample", ["breast-cancer", "diamonds"])
def test_the_command_says_the_same(sample, capsys):
    asked = recipe(prune(0.9), quantize(3, 8))
    assert main(["damage", "--model", sample, "--recipe", asked.to_json(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    data, result, compared, told = tell(sample, asked)
    assert [one["text"] for one in found["statements"]][: len(told)] == [one.text for one in told]
    assert found["n"] == result.tempered.n
    if data.task.decides:
        assert len(found["flips"]) == compared.flips.flips and found["mcnemar"]["mid_p"] == compared.test.mid_p
        assert [one["class"] for one in found["classes"]] == list(data.classes)
    else:
        assert list(found["disparities"]) == [one.title for one in data.groups] and found["moved"]
    assert main(["damage", "--model", sample, "--recipe", asked.to_json()]) == 0
    assert capsys.readouterr().out.startswith(told[0].text)
