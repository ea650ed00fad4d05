"""What the command `sweep` does about recipes that train: it runs the trainings first where that was asked for."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.data.handle import DataHandle
    from core.models.handle import ModelHandle
    from core.recipe import Recipe
    from core.sweeps.plan import Plan


def prepare(model: ModelHandle, data: DataHandle, plan: Plan, train: bool, elsewhere: bool) -> None:
    """Before a sweep: run the trainings of the grid, or say which points are left out for want of them.

    `elsewhere` says that the points are computed by workers that do not see what is kept here. Raises `TemperError`
    where no point could be measured, and where the trainings cannot be run.
    """
    from core.training.swept import MOST, missing_of, points_with, trainings_of

    every = trainings_of(plan)
    if train:
        _check(every, elsewhere, MOST)
    if not every:
        return
    missing = missing_of(model, data, every) if len(every) <= MOST else every
    without, count = points_with(plan, missing), len(plan.recipes)
    if train:
        _train(model, data, missing)
    elif without:
        text = f"{without:,} of {count:,} points hold a training that was not run on this machine"
        if without == count:
            raise TemperError(f"{text}, and a sweep trains only where that is asked for.", "Add --train.")
        print(f"temper: {text}; left out, as the table will say. --train runs it first.", file=sys.stderr)


def _check(every: list[Recipe], elsewhere: bool, most: int) -> None:
    from core.home import home

    if not every:
        raise TemperError("--train has nothing to run: no recipe of the grid trains.", "Give --recipe a train step.")
    if elsewhere:
        raise TemperError(
            "--train trains on this machine, and Dask's workers do not see what is kept here.", "Give --workers."
        )
    if home() is None:
        raise TemperError("TEMPER_HOME is empty, so what is trained cannot be kept.", "Name a folder in TEMPER_HOME.")
    if len(every) > most:
        raise TemperError(
            f"A sweep trains {most} networks at most; this grid has {len(every):,} different ones.",
            "Take fewer values; what comes after the training asks for none.",
        )


def _train(model: ModelHandle, data: DataHandle, missing: list[Recipe]) -> None:
    """Run trainings one after another, the time said before; one that cannot be run is told of and left out."""
    from core.commands.adapt import trained
    from core.training.swept import epochs_of, seconds_of

    if not missing:
        return
    data.split("fit")
    epochs = sum(epochs_of(one) for one in missing)
    each = seconds_of(model, data, missing[0]) / epochs_of(missing[0])
    print(
        f"{_count(len(missing))} to run first, {epochs:g} epochs in all: about {_time(each * epochs)} here, "
        "by a rehearsal of the first. Ctrl-C keeps what was trained.",
        file=sys.stderr,
    )
    done, began = 0.0, time.monotonic()
    for number, one in enumerate(missing, 1):
        try:
            trained(model, data, one, lambda _: None)
            told = one.notation
        except TemperError as error:
            told = f"{one.notation}: left out. {error.message}"
        done += epochs_of(one)
        spent = time.monotonic() - began
        left = f"; about {_time(spent / done * (epochs - done))} left" if number < len(missing) else ""
        print(f"trained {number} of {len(missing)}: {told}{left}", file=sys.stderr, flush=True)


def _count(trainings: int) -> str:
    return f"{trainings} training{'' if trainings == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
