"""Numbers of one's own: a table and a network of one output or two, groups, scaled targets, and every wrong pair."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import prune, quantize, recipe
from damage import sentence
from owned_more import SCALE, Flats, flats, priced, read_by_network, saved
from torch import nn

from core.about import alternatives, prepares, reads, said_task
from core.data.balance import group_sizes, target_values
from core.data.handle import load_split
from core.data.intake import DataWish, read_examples
from core.data.splits import strata_of
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.figures.targets import targets_chart
from core.intake import bring
from core.models.samples import load_sample, own_home, read_card
from core.wish import Wish

SIZES = np.array([100, 100, 1, 1, 1], np.float32)
FRAME = flats()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return own_home()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the networks, the table of flats, and the rows as arrays."""
    folder = tmp_path_factory.mktemp("flats")
    for outputs in (1, 2):
        saved(priced(outputs), folder / f"value{outputs}.pt2", (5,))
        saved(priced(outputs, scaled=True), folder / f"scaled{outputs}.onnx", (5,))
    for outputs in (3, 10):
        torch.manual_seed(0)
        saved(Flats(outputs).eval(), folder / f"many{outputs}.pt2", (5,))
    FRAME.to_csv(folder / "flats.csv", index=False)
    FRAME.to_parquet(folder / "flats.parquet", index=False)
    np.savez(folder / "flats.npz", x=read_by_network(FRAME) * SIZES, y=FRAME["price"].to_numpy())
    return folder


def brought(home, model, data, **more) -> str:
    usual = {"unit": "thousand euros", "label": "price", "groups": ("quarter",)}
    if str(data).endswith(".npz"):
        usual = {"unit": "thousand euros"}
    return bring(Wish(str(model), str(data), **{**usual, **more}), home, lambda _done, _what: None)


def refused(home, model, data, **more) -> str:
    with pytest.raises(TemperError) as caught:
        brought(home, model, data, **more)
    assert not list(home.glob("[!.]*/card.json")) if home.exists() else True
    return str(sentence(caught.value))


def checked(card: dict) -> dict[str, dict]:
    return {check["title"]: check for check in card["checks"]}


@pytest.mark.parametrize("data", ["flats.csv", "flats.parquet", "flats.npz"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers_come_in(outputs, data, place, home):
    table = not data.endswith(".npz")
    name = brought(home, place / f"value{outputs}.pt2", place / data)
    card, (model, held) = read_card(name), load_sample(name)
    assert card["task"] == {
        "kind": "regression", "target": "price" if table else "value", "unit": "thousand euros",
        "outputs": ["value", "log_scale"][:outputs],
    }  # fmt: skip
    assert card["classes"] == [] and card["preprocessing"]["name"] == "as-is"
    assert checked(card)["Belong together"]["ok"] is True and all(c["ok"] is not False for c in card["checks"])
    kept = np.concatenate([load_split(held, split.name).y for split in held.splits])
    assert kept.dtype == np.float64 and np.array_equal(np.sort(kept), np.sort(FRAME["price"]))
    split = load_split(held, "evaluation")
    row = FRAME.index[FRAME["price"] == split.y[0]][0]
    assert np.allclose(split.inputs[0], read_by_network(FRAME)[row] * SIZES)
    found = evaluate(model, held, recipe(quantize(8, 8)))
    with torch.no_grad():
        own = priced(outputs)(torch.from_numpy(split.inputs)).numpy()
    assert np.allclose(found.original.values, own[:, 0], rtol=1e-4)
    share = 1 - ((own[:, 0] - split.y) ** 2).mean() / split.y.var()
    assert share > 0.9, "the network is a good one"
    sure = "" if outputs == 1 else " and how sure it is"
    assert reads(card) == f"Reads rows of 5 numbers and predicts {card['task']['target']} in thousand euros{sure}."


def test_the_same_from_the_command_line(place, home, capsys):
    from core.cli import main

    given = ["--model", str(place / "scaled2.onnx"), "--data", str(place / "flats.csv"), "--label", "price", "--unit",
             "thousand euros", "--groups", "quarter,heating", "--target-scale", f"{SCALE[0]};{SCALE[1]}", "--task",
             "numbers"]  # fmt: skip
    assert main(["load", *given]) == 0
    said = capsys.readouterr().out
    assert "predicts price in thousand euros" in said and "ok   Belong together" in said and "LOOK" not in said
    step = '{"version": 1, "steps": [{"kind": "quantize", "method": "uniform"}]}'
    assert main(["run", *given, "--recipe", step]) == 0
    assert "rmse" in capsys.readouterr().out


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_scaled_target_is_seen_and_put_back(outputs, place, home):
    model, data = place / f"scaled{outputs}.onnx", place / "flats.csv"
    first = read_card(brought(home, model, data))
    check = checked(first)["Belong together"]
    assert check["ok"] is False and "scaled in training" in check["said"]
    (offer,) = alternatives(first)
    mean, deviation = map(float, offer.change["target_scale"].split(";"))
    assert abs(mean - SCALE[0]) < 12 and abs(deviation - SCALE[1]) < 4 and offer.accuracy > 0.9
    assert "R2 0.9" in offer.said
    name = brought(home, model, data, target_scale=f"{SCALE[0]};{SCALE[1]}")
    card, (handle, held) = read_card(name), load_sample(name)
    assert checked(card)["Belong together"]["ok"] is True and not alternatives(card)
    assert any("scaled in training" in note for note in card["notes"])
    found = evaluate(handle, held, recipe(quantize(8, 8)))
    with torch.no_grad():
        own = priced(outputs, scaled=True)(torch.from_numpy(load_split(held, "evaluation").inputs)).numpy()
    assert np.allclose(found.original.values, own[:, 0] * SCALE[1] + SCALE[0], rtol=1e-4)
    shrunk = evaluate(handle, held, recipe(prune(0.25, "channels-magnitude"), quantize(8, 8)))
    assert np.isfinite(shrunk.tempered.logits).all() and shrunk.bytes.packed < found.bytes.packed
    if outputs == 2:
        assert np.allclose(found.original.logits[:, 1], own[:, 1] + math.log(SCALE[1]), atol=1e-4)
        held_share = float(checked(card)["Intervals"]["said"].split("hold ")[1].split(" %")[0])
        assert 75 < held_share < 99


def test_a_network_of_another_target_is_a_warning(place, home):
    random = np.random.default_rng(3)
    FRAME.assign(price=random.permutation(FRAME["price"])).to_csv(place / "mixed.csv", index=False)
    check = checked(read_card(brought(home, place / "value1.pt2", place / "mixed.csv")))
    assert check["Belong together"]["ok"] is False and "no better than the mean" in check["Belong together"]["said"]


def test_the_normalisation_is_chosen_by_the_squared_error(place, home):
    """A network of standardised columns: 'standard' leaves the least error."""
    torch.manual_seed(0)
    x = read_by_network(FRAME) * SIZES
    mean, deviation = x.mean(0), x.std(0)
    inner = priced(1)

    class Standard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.register_buffer("deviation", torch.from_numpy(deviation))
            self.register_buffer("mean", torch.from_numpy(mean))

        def forward(self, given):
            return self.inner(given * self.deviation + self.mean)

    saved(Standard().eval(), place / "standard.pt2", (5,))
    card = read_card(brought(home, place / "standard.pt2", place / "flats.csv"))
    assert card["preprocessing"]["name"] == "standard" and "usual ones" in card["preprocessing"]["why"]
    assert checked(card)["Belong together"]["ok"] is True


def test_groups_are_stored_and_features_only_where_there_is_room(place, home):
    name = brought(home, place / "value1.pt2", place / "flats.csv", groups=("quarter", "heating"))
    card, (_, data) = read_card(name), load_sample(name)
    stated = {title: of["feature"] for title, of in card["data"]["groups"].items()}
    assert stated == {"quarter": False, "heating": True}
    assert any("quarter (no feature), heating (also a feature)" in note for note in card["notes"])
    split = load_split(data, "calibration")
    by_price = FRAME.drop_duplicates("price").set_index("price")
    names = {group.title: group.names for group in data.groups}
    for title in ("quarter", "heating"):
        told = [names[title][code] for code in split.groups[title]]
        pairs = [(one, by_price["quarter" if title == "quarter" else "heating"].get(price)) for one, price in
                 zip(told, split.y, strict=True) if (FRAME["price"] == price).sum() == 1]  # fmt: skip
        assert pairs and all(one == other for one, other in pairs)
    sizes = group_sizes(data)
    assert sum(sizes["calibration, examples"][:2]) == len(split.y)
    assert sizes["Group"] == ["east", "west", "gas", "heat pump", "oil"]


def test_groups_may_be_numbers_and_may_lack_values(tmp_path):
    frame = FRAME.assign(rooms=FRAME["age"] // 30, quarter=FRAME["quarter"].where(FRAME.index % 5 > 0))
    frame.to_csv(tmp_path / "flats.csv", index=False)
    wish = DataWish(label="price", outputs=1, input_shape=(6,), groups=("rooms", "quarter"))
    rooms, quarter = read_examples(tmp_path / "flats.csv", wish).groups
    assert rooms.names == ("0", "1", "2") and quarter.names == ("east", "west", "not stated")
    assert (quarter.codes == 2).sum() == 180 and not quarter.feature
    frame.to_parquet(tmp_path / "flats.parquet")
    again = read_examples(tmp_path / "flats.parquet", wish).groups
    assert again[0].names == rooms.names and np.array_equal(again[1].codes, quarter.codes)


def test_numbers_are_split_by_their_size(tmp_path, place):
    found = read_examples(place / "flats.csv", DataWish(label="price", outputs=1, input_shape=(7,)))
    parts = found.places(0)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(FRAME)))
    low = found.y < np.quantile(found.y, 0.1)
    assert [int(low[parts[name]].sum()) for name in ("calibration", "evaluation")] == [30, 60]
    assert np.bincount(strata_of(np.zeros(40))).tolist() == [4] * 10, "equal numbers are spread too"
    assert np.array_equal(strata_of(np.array([3.0, 1, 2, 0])), [1, 0, 1, 0])


def changed(place, name: str, **columns) -> str:
    FRAME.assign(**columns).to_csv(place / name, index=False)
    return str(place / name)


def words_of(price: pd.Series) -> pd.Series:
    return pd.cut(price, 3, labels=["cheap", "fair", "dear"]).astype(str)


def odd(price: pd.Series, value: str) -> list[str]:
    told = [str(one) for one in price]
    told[17] = value
    return told


PRICE = FRAME["price"]
WRONG = {
    "words for a value": ("value1.pt2", {"price": words_of(PRICE)}, {}, "holds words, such as"),
    "one distinct target": ("value1.pt2", {"price": [5.5] * len(FRAME)}, {}, "in all 900 examples"),
    "missing target": ("value1.pt2", {"price": odd(PRICE, "")}, {}, "is missing in line 19"),
    "NaN target": ("value2.pt2", {"price": odd(PRICE, "nan")}, {}, "is missing in line 19"),
    "infinite target": ("value2.pt2", {"price": odd(PRICE, "inf")}, {}, "holds 'inf' in line 19"),
    "separators": ("value1.pt2", {"price": [f"{1000 * p:,.0f}" for p in PRICE]}, {}, "separators of thousands"),
    "a decimal comma": ("value1.pt2", {"price": [f"{p:.1f}".replace(".", ",") for p in PRICE]}, {}, "with a point"),
    "a comma in two outputs": ("value2.pt2", {"price": [f"{1000 * p:,.0f}" for p in PRICE]}, {}, "with a point"),
    "one word": ("value1.pt2", {"price": odd(PRICE, "cheap")}, {}, "holds cheap in line 19, which is no number"),
    "three outputs": ("many3.pt2", {}, {}, "has 3 outputs"),
    "ten outputs": ("many10.pt2", {}, {}, "has 10 outputs"),
    "asked for three": ("many3.pt2", {}, {"task": "numbers"}, "The labels are numbers and the network has 3 outputs"),
    "classes asked for": ("value1.pt2", {}, {"task": "classes"}, "numbers to predict are not classes"),
    "three classes for two": ("value2.pt2", {"price": words_of(PRICE)}, {}, "tells 2 classes apart"),
    "a group that is missing": ("value1.pt2", {}, {"groups": ("region",)}, "has no column region"),
    "a group of many": ("value1.pt2", {}, {"groups": ("size",)}, "more than 50 different values"),
    "the label as a group": ("value1.pt2", {}, {"groups": ("price",)}, "is the label column"),
    "a positive number": ("value1.pt2", {}, {"positive": "yes"}, "there are no classes to name"),
    "a scale of words": ("value1.pt2", {}, {"target_scale": "a;b"}, "written as 120.5;33.2"),
    "groups that could all be features": (
        "value1.pt2",
        {"quarter": FRAME["heating"]},
        {"groups": ("heating", "quarter")},
        "and nothing says which",
    ),
    "a scale of zero": ("value1.pt2", {}, {"target_scale": "1;0"}, "written as 120.5;33.2"),
    "a tokenizer": ("value1.pt2", {}, {"tokenizer": "tokenizer.json"}, "a tokenizer is nothing to it"),
    "a text column": ("value1.pt2", {}, {"text": "heating"}, "a text column is nothing to it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pair_is_one_sentence(case, place, home):
    model, columns, more, says = WRONG[case]
    path = changed(place, "wrong.csv", **columns)
    said = refused(home, place / model, path, **more)
    assert says.replace("'", "") in said.replace("'", "")


def test_groups_are_columns_of_tables(place, home):
    assert "Groups are columns" in refused(home, place / "value1.pt2", place / "flats.npz", groups=("quarter",))


@pytest.mark.parametrize(
    ("labels", "classes", "looked_for"),
    [((0, 1), ["0", "1"], "1"), (("no", "yes"), ["no", "yes"], "yes"), (("yes", "other"), ["other", "yes"], "yes")],
)
def test_one_logit_becomes_two(labels, classes, looked_for, place, home):
    """A network with a single logit z gives what (0, z) gives: the sigmoid of z for the second class."""
    made = nn.Sequential(priced(1), nn.Linear(1, 1))
    with torch.no_grad():
        made[1].weight.fill_(0.05)
        made[1].bias.fill_(-0.05 * float(PRICE.median()))
    dear = (PRICE.median() < PRICE).to_numpy()
    order = sorted(map(str, labels))
    told = np.where(dear, order[1], order[0])
    path = changed(place, "dear.csv", price=told)
    with_sigmoid = nn.Sequential(made, nn.Sigmoid())
    for module, file in ((made, "logit.pt2"), (with_sigmoid, "sigmoid.onnx")):
        saved(module.eval(), place / file, (5,))
        name = brought(home, place / file, path)
        card, (model, data) = read_card(name), load_sample(name)
        assert card["classes"] == classes and card["task"] == {"kind": "binary", "positive": looked_for}
        assert f"the logit of {classes[1]}" in " ".join(card["notes"])
        assert checked(card)["Belong together"]["ok"] is True
        found = evaluate(model, data, recipe(quantize(8, 8)))
        with torch.no_grad():
            z = made(torch.from_numpy(load_split(data, "evaluation").inputs)).numpy()[:, 0]
        assert np.allclose(found.original.probabilities[:, 1], 1 / (1 + np.exp(-z.astype(float))), atol=1e-5)
        shrunk = evaluate(model, data, recipe(prune(0.25, "channels-magnitude"), quantize(8, 8)))
        assert shrunk.tempered.probabilities.shape == (shrunk.tempered.n, 2)
        assert not shrunk.tempered.logits[:, 0].any(), "the other class stays at 0"
    other = brought(home, place / "logit.pt2", path, positive=classes[1 - classes.index(looked_for)])
    assert read_card(other)["task"]["positive"] != looked_for and other != name
    assert said_task(read_card(other)).startswith(f"{classes[0]} or {classes[1]}; looked for is ")
    assert "The positive class is" in refused_again(place / "logit.pt2", path, home, "maybe")


def refused_again(model, path, home, positive: str) -> str:
    with pytest.raises(TemperError) as caught:
        brought(home, model, path, positive=positive)
    return str(sentence(caught.value))


def test_the_spread_of_numbers_is_drawn(place, home):
    _, data = load_sample(brought(home, place / "value1.pt2", place / "flats.csv"))
    values = target_values(data)
    chart = targets_chart(values, data.task.target, data.task.unit)
    for split, found in values.items():
        assert chart.table[f"{split}, examples"].sum() == len(found)
        assert f"{len(found):,} {split}" in chart.caption
    assert "thousand euros" in chart.caption and "price" in chart.alt
    high = max(float(found.max()) for found in values.values())
    assert f"{high:,.0f}" in chart.caption
    assert prepares(read_card(data.id))[-1] == "1 column of words became numbers: heating."
