"""The tables' preparation on made-up records: what looks ahead, what may not, and that the splits keep apart."""

from __future__ import annotations

import importlib.util
import itertools
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.models.handle import build
from core.models.samples import SHIPPED, load_sample, read_card
from core.recipe import Recipe, Step

TABLES = ("credit-default", "diamonds", "rain-6h")


def script(name: str, monkeypatch):
    """A sample's train.py as a module; running it is another matter."""
    monkeypatch.syspath_prepend(str(ROOT / "sample_models"))
    spec = importlib.util.spec_from_file_location(f"train_{name}".replace("-", "_"), SHIPPED / name / "train.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def arrays(name: str, split: str) -> dict[str, np.ndarray]:
    with np.load(SHIPPED / name / f"{split}.npz", allow_pickle=False) as stored:
        return dict(stored)


# Rain ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rain(monkeypatch):
    return script("rain-6h", monkeypatch)


def records(seed: int = 0) -> pd.DataFrame:
    """A year of made-up hours at three airports with holes, missing values and the one absurd wind."""
    random = np.random.default_rng(seed)
    at = pd.date_range("2013-01-01 05:00", "2014-01-01 04:00", freq="h", tz="UTC")
    local = at.tz_convert("America/New_York")
    made = []
    for airport in ("EWR", "JFK", "LGA"):
        n = len(at)
        table = pd.DataFrame(
            {
                "origin": airport, "year": local.year, "month": local.month, "day": local.day, "hour": local.hour,
                "temp": random.normal(55, 15, n).round(2), "dewp": random.normal(40, 15, n).round(2),
                "humid": random.uniform(20, 100, n).round(2), "wind_dir": random.integers(0, 37, n) * 10.0,
                "wind_speed": random.integers(0, 20, n) * 1.15078, "wind_gust": random.uniform(20, 40, n),
                "precip": random.choice([0, 0.01, 0.2], n, p=[0.95, 0.03, 0.02]),
                "pressure": random.normal(1017, 7, n).round(1), "visib": 10.0,
                "time_hour": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )  # fmt: skip
        for column, share in (("pressure", 0.1), ("wind_gust", 0.8), ("wind_dir", 0.02), ("temp", 0.001)):
            table.loc[random.random(n) < share, column] = np.nan
        table.loc[100, "wind_speed"] = 1048.36
        made.append(table[random.random(n) > 0.01])
    return pd.concat(made, ignore_index=True)


def test_the_target_is_rain_in_the_next_six_recorded_hours(rain):
    table = records()
    precip = {
        (row.origin, pd.Timestamp(row.time_hour)): row.precip
        for row in table[["origin", "time_hour", "precip"]].itertuples()
    }
    seen = 0
    for part in rain.prepared(table).values():
        for y, time, airport in zip(part.y, part.more["time"], part.more["airport"], strict=True):
            now = rain.START + pd.Timedelta(hours=int(time))
            ahead = [precip[rain.AIRPORTS[airport], now + pd.Timedelta(hours=h)] for h in range(1, 7)]
            assert y == (max(ahead) > 0)
            seen += 1
    assert seen > 20_000


def test_no_feature_looks_ahead(rain):
    """All that comes after an hour is replaced; the rows up to it stay as they were."""
    table = records()
    cut = pd.Timestamp("2013-05-01", tz="UTC")
    at = pd.to_datetime(table["time_hour"])
    # Nothing is measured in the hours up to the cut, so whoever fills from the nearest side is tempted to look ahead.
    table.loc[(at > cut - pd.Timedelta(hours=3)) & (at <= cut), ["temp", "dewp", "wind_speed", "pressure"]] = np.nan
    later = at > cut
    other = table.copy()
    values = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    other.loc[later, values] = records(seed=1)[values].iloc[: later.sum()].fillna(1).to_numpy()
    for airport in rain.AIRPORTS:
        before, after = (rain.rows(t[t["origin"] == airport]).loc[:cut] for t in (table, other))
        pd.testing.assert_frame_equal(before[list(rain.FEATURES)], after[list(rain.FEATURES)])


def test_the_spans_lie_a_day_apart(rain):
    parts = rain.prepared(records())
    names = ("fit", "calibration", "evaluation")
    for earlier, later in itertools.pairwise(names):
        gap = parts[later].more["time"].min() - parts[earlier].more["time"].max()
        # The last hour looks six ahead and the first three back; the day between keeps them apart.
        assert 24 < gap <= 27  # hours; the made-up records have holes


def test_the_shipped_spans_lie_a_day_apart():
    calibration, evaluation = (arrays("rain-6h", split)["time"] for split in ("calibration", "evaluation"))
    assert evaluation.min() - calibration.max() > 24
    start = pd.Timestamp("2013-01-01", tz="UTC")
    first = start + pd.Timedelta(hours=int(calibration.min()))
    # The fit split ends before 31 July, local; the calibration split begins a day later at least.
    assert first - pd.Timestamp("2013-07-31", tz="America/New_York") >= pd.Timedelta(days=1)


def test_nothing_is_left_missing_or_absurd(rain):
    for part in rain.prepared(records()).values():
        assert np.isfinite(part.x).all() and part.x.dtype == np.float32
        assert part.x[:, rain.FEATURES.index("wind speed, mph")].max() < rain.WIND_LIMIT
    speed = rain.FEATURES.index("wind speed, mph")
    assert max(arrays("rain-6h", s)["x"][:, speed].max() for s in ("calibration", "evaluation")) < rain.WIND_LIMIT


def test_the_skill_against_climatology_is_the_cards():
    card, (model, data) = read_card("rain-6h"), load_sample("rain-6h")
    found = evaluate(model, data, Recipe()).original
    stated = card["climatology"]
    wet = found.labels == 1
    climatology = np.mean((stated["rate"] - wet) ** 2)
    assert 2 * climatology == pytest.approx(stated["brier"], abs=1e-6)
    brier = np.mean((found.probabilities[:, 1] - wet) ** 2)
    # One in 5,000 of the hours may change sides with the order of summation; the scale is the climatology's score.
    assert 1 - brier / climatology == pytest.approx(stated["brier_skill"], abs=2e-4 / climatology)


def test_over_confidence_costs_the_skill_and_a_temperature_returns_it():
    model, data = load_sample("rain-6h")
    result = evaluate(model, data, Recipe((Step.of("calibrate", "temperature"),)))
    rate = read_card("rain-6h")["climatology"]["rate"]
    wet = result.original.labels == 1
    climatology = np.mean((rate - wet) ** 2)
    before, after = (
        1 - np.mean((o.probabilities[:, 1] - wet) ** 2) / climatology for o in (result.original, result.tempered)
    )
    assert before < 0 and after > 0.1


# Credit -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def credit(monkeypatch):
    return script("credit-default", monkeypatch)


def clients(n: int = 3000) -> pd.DataFrame:
    """Made-up clients, a tenth of them with the features of another."""
    random = np.random.default_rng(2)
    made = {
        "LIMIT_BAL": random.integers(1, 50, n) * 10_000.0, "SEX": random.integers(0, 2, n),
        "AGE": random.integers(21, 80, n), "default-payment-next-month": (random.random(n) < 0.22).astype(int),
    }  # fmt: skip
    for name in ("PAY_0", *(f"PAY_{i}" for i in range(2, 7))):
        made[name] = random.integers(-2, 9, n)
    for i in range(1, 7):
        made[f"BILL_AMT{i}"] = random.normal(0, 50_000, n).round()
        made[f"PAY_AMT{i}"] = random.exponential(5_000, n).round()
    for name, size in (("EDUCATION", 7), ("MARRIAGE", 4)):
        drawn = random.integers(0, size, n)
        made |= {f"{name}_{i}": (drawn == i).astype(int) for i in range(size)}
    table = pd.DataFrame(made)
    same = random.choice(n, (n // 10, 2), replace=False)
    table.loc[same[:, 0]] = table.loc[same[:, 1]].to_numpy()
    return table


def test_equal_clients_stay_together_and_classes_in_proportion(credit):
    table = clients()
    parts = credit.prepared(table, calibration=500, evaluation=700)
    assert {name: len(part.y) for name, part in parts.items()} == {"evaluation": 700, "calibration": 500, "fit": 1800}
    seen = [{row.tobytes() for row in part.x} for part in parts.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    times = table.drop(columns=["SEX", "AGE", "default-payment-next-month"]).duplicated(keep=False)
    repeated = {row.tobytes() for row in credit.columns(table[times])[0]}
    assert all(repeated & part for part in seen), "a part without them would be another kind of client"
    rate = table["default-payment-next-month"].mean()
    assert all(abs(part.y.sum() - rate * len(part.y)) <= 1 for part in parts.values())


def test_amounts_keep_sign_and_order(credit):
    amounts = np.array([-170_000, -1, 0, 1, 9, 999, 1_000_000.0])
    scaled = credit.signed_log(amounts)
    assert (np.diff(scaled) > 0).all() and (np.sign(scaled) == np.sign(amounts)).all()
    assert scaled[4] == 1 and scaled[5] == 3


def test_one_category_of_each_kind_holds(credit):
    x, _, groups = credit.columns(clients())
    names = list(credit.FEATURES)
    first = names.index("education graduate school")
    assert (x[:, first : first + 4].sum(1) == 1).all() and (x[:, first + 4 : first + 7].sum(1) == 1).all()
    ages = clients()["AGE"].to_numpy()
    for band, (low, high) in enumerate(((21, 29), (30, 39), (40, 49), (50, 99))):
        assert ((groups["age_band"] == band) == ((ages >= low) & (ages <= high))).all()


# Diamonds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def diamonds(monkeypatch):
    return script("diamonds", monkeypatch)


def gems(n: int = 3000) -> pd.DataFrame:
    """Made-up stones; a tenth is listed again, turned and graded anew; some lengths are impossible."""
    random = np.random.default_rng(4)
    side = random.uniform(4, 9, n).round(2)
    table = pd.DataFrame(
        {
            "carat": (side**3 / 160).round(2),
            "cut": random.choice(["Fair", "Good", "Very Good", "Premium", "Ideal"], n),
            "color": random.choice(list("DEFGHIJ"), n),
            "clarity": random.choice(["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"], n),
            "depth": random.normal(62, 1, n).round(1), "table": random.normal(57, 2, n).round(),
            "price": random.integers(326, 18_824, n), "x": side, "y": (side + random.uniform(0.01, 0.1, n)).round(2),
            "z": (0.62 * side).round(2),
        }
    )  # fmt: skip
    again = table.iloc[: n // 10].rename(columns={"x": "y", "y": "x"})
    again["cut"] = "Ideal"
    every = pd.concat([table, again], ignore_index=True)
    every.loc[n // 2, "z"], every.loc[n // 2 + 1, "y"], every.loc[n // 2 + 2, "x"] = 0.0, 58.9, 0.0
    return every


def test_a_stone_listed_again_stays_in_one_split(diamonds):
    parts = diamonds.prepared(gems(), calibration=400, evaluation=600)
    assert sum(len(part.y) for part in parts.values()) == 3300 - 3  # without the impossible ones
    assert 600 <= len(parts["evaluation"].y) < 600 + 10 and abs(len(parts["calibration"].y) - 400) < 10
    seen = [stones_of(part.x) for part in parts.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    listed = [len(part.y) - len(found) for part, found in zip(parts.values(), seen, strict=True)]
    assert all(listed), "each part has stones that are listed twice"


def stones_of(x: np.ndarray) -> set[tuple[float, ...]]:
    """Carat, the two sides in order and height, of rows as stored."""
    return {(row[0], *sorted(row[6:8]), row[8]) for row in x.tolist()}


def test_the_shipped_splits_share_no_stone():
    seen = [stones_of(arrays("diamonds", split)["x"]) for split in ("calibration", "evaluation")]
    assert not seen[0] & seen[1]
    assert all(min(side for stone in found for side in stone) > 0 for found in seen)


def test_a_category_is_its_place_in_the_cards_list(diamonds):
    table = gems()
    x, lists = diamonds.columns(table), read_card("diamonds")["data"]["categories"]
    for name, values in lists.items():
        assert [values[int(code)] for code in x[:, diamonds.FEATURES.index(name)]] == table[name].tolist()
    table.loc[5, "color"] = "K"
    with pytest.raises(SystemExit, match="color"):
        diamonds.columns(table)


def test_the_groups_are_cut_and_carat():
    stored = arrays("diamonds", "evaluation")
    carat = stored["x"][:, 0]
    assert (stored["cut"] == stored["x"][:, 1]).all()
    assert (stored["carat_band"] == (carat >= 0.5).astype(int) + (carat >= 1) + (carat >= 1.5)).all()


def test_the_loss_is_least_at_mean_and_deviation(diamonds):
    target = torch.from_numpy(np.random.default_rng(0).normal(3, 2, 500))
    found = torch.tensor([target.mean(), target.std(correction=0).log()]).double().requires_grad_()
    diamonds.loss_of(found.expand(500, 2), target).backward()
    assert found.grad.abs().max() < 1e-12
    wrong = torch.tensor([4.0, 0.0]).double().requires_grad_()
    diamonds.loss_of(wrong.expand(500, 2), target).backward()
    assert wrong.grad[0] > 0.1 and wrong.grad[1] < -0.1  # a smaller mean, a larger deviation


def test_dollars_fold_into_the_last_layer(diamonds):
    head = torch.nn.Linear(3, 2).double()
    x = torch.randn(10, 3).double()
    before = head(x).detach()
    diamonds.in_dollars(head, 3900.0, 4000.0)
    after = head(x).detach()
    torch.testing.assert_close(after[:, 0], before[:, 0] * 4000 + 3900)
    torch.testing.assert_close(after[:, 1].exp(), before[:, 1].exp() * 4000)


def test_its_own_intervals_hold_too_little():
    model, data = load_sample("diamonds")
    loaded = load_split(data, "evaluation")
    with torch.inference_mode():
        value, log_scale = build(model)(torch.from_numpy(loaded.inputs.copy())).double().numpy().T
    error = np.abs(loaded.y - value)
    assert 1 - (error**2).mean() / loaded.y.var() > 0.975
    held = (error <= 1.6449 * np.exp(log_scale)).mean()
    assert held < 0.9 - 5 * np.sqrt(0.9 * 0.1 / len(error)), "over-confident beyond chance"
    assert held == pytest.approx(read_card("diamonds")["figures"]["coverage"], abs=5e-4)


# All ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("split", ["calibration", "evaluation"])
def test_the_groups_are_in_the_files(name, split):
    card, stored = read_card(name), arrays(name, split)
    assert card["data"]["groups"]
    for group in card["data"]["groups"].values():
        column = stored[group["array"]]
        assert column.shape == stored["y"].shape
        assert set(np.unique(column)) == set(range(len(group["names"])))


@pytest.mark.parametrize("name", TABLES)
def test_the_scaling_is_not_fitted_on_what_it_judges(name):
    """Statistics of either shipped split differ from the card's: those are the fit split's."""
    card, (_, data) = read_card(name), load_sample(name)
    for split in ("calibration", "evaluation"):
        x = load_split(data, split).x
        assert x.dtype == np.float32 and x.shape[1] == len(data.features)
        assert not np.allclose(x.mean(0), card["preprocessing"]["mean"], rtol=1e-4)


@pytest.mark.parametrize("name", ["credit-default", "rain-6h"])
def test_it_does_better_than_the_majority_class(name):
    card, (_, data) = read_card(name), load_sample(name)
    y = load_split(data, "evaluation").y
    assert card["figures"]["accuracy"] > max(y.mean(), 1 - y.mean()) + 0.01


def test_rain_one_hot_is_the_airport():
    stored = arrays("rain-6h", "evaluation")
    assert (stored["x"][:, -3:].argmax(1) == stored["airport"]).all() and (stored["x"][:, -3:].sum(1) == 1).all()
