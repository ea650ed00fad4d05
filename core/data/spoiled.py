"""Data made wrong on purpose, to see what they do to a training: only the fit split differs, and it says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.data.borrowed import kept_split, written_digits
from core.data.handle import DataHandle, Split, split_for_fitting
from core.data.splits import strata_of
from core.data.texts import packed
from core.errors import TemperError
from core.types import Integers

Kind = Literal["right", "labels", "missing", "group", "noise", "digits"]
SHARE = 0.3  # of the labels or inputs that are made wrong, unless something else is asked for


@dataclass(frozen=True)
class Wrong:
    """What is wrong with the fit split.

    `right`: nothing. `labels`: the labels of a `share` are dealt out again among themselves. `missing`: class `code`
    is left out, or that tenth of the numbers. `group`: only group `code` of those by `group` is there. `noise`: in a
    `share` each value comes from another example, drawn for every place by itself, and each word from another text.
    `digits`: written digits stand in the place of the pictures, each labelled by its number.
    """

    kind: Kind
    share: float = SHARE
    code: int = 0
    group: str = ""
    seed: int = 0

    def named(self, data: DataHandle) -> str:
        """In words, as a chart writes it."""
        if self.kind == "missing":
            return f"without {data.classes[self.code]}" if data.task.decides else "without a tenth of the range"
        if self.kind == "group":
            return f"only {next(g for g in data.groups if g.title == self.group).names[self.code]}"
        part = "all" if self.share >= 1 else f"{100 * self.share:.0f} % of the"
        return {"right": "the right data", "labels": f"{part} labels shuffled", "noise": f"{part} inputs noise"}.get(
            self.kind, "written digits"
        )


RIGHT = Wrong("right")


def ways(data: DataHandle) -> tuple[Wrong, ...]:
    """What can be made wrong with a data set, the labels first. Raises `TemperError` without a fit split."""
    fit = split_for_fitting(data, "fit")
    found = [Wrong("labels"), Wrong("labels", 1.0), Wrong("noise", 1.0)]
    codes, counts = np.unique(strata_of(fit.y), return_counts=True)
    if len(codes) > 2:  # of two classes one alone would be left
        found.append(Wrong("missing", code=int(codes[counts.argmax()])))
    for group in data.groups[:1]:
        known, sizes = np.unique(fit.groups.get(group.title, np.zeros(0, np.int64)), return_counts=True)
        if len(known) > 1:
            found.append(Wrong("group", code=int(known[sizes.argmin()]), group=group.title))
    if data.modality == "pictures" and fit.x.shape[1:] == (28, 28) and len(data.classes) == len(DIGITS):
        found.append(Wrong("digits"))
    return tuple(found)


DIGITS = range(10)
OWN_DRAW = 7_241  # with the seed alone the examples drawn for a training would be the very ones made wrong


def spoiled(data: DataHandle, wrong: Wrong) -> DataHandle:
    """The data set with another fit split, of its own name; calibration and evaluation are the very same files.

    Raises `TemperError` where nothing is left to learn from.
    """
    if wrong.kind == "right":
        return data
    fit = split_for_fitting(data, "fit")
    x, y, rows = _changed(data, fit, wrong)
    if len(y) < 2:
        raise TemperError(f"Nothing to learn from is left of '{data.id}': {wrong.named(data)}.")
    identity = f"{data.id}-wrong-{wrong.kind}"
    arrays: dict[str, NDArray[Any]] = packed(x.tolist()) if data.modality == "text" else {"x": x}
    arrays["y"] = y
    if wrong.kind != "digits":
        arrays |= {one.array: fit.groups[one.title][rows] for one in data.groups if one.title in fit.groups}
    made = kept_split(identity, "fit", arrays)
    return replace(
        data,
        id=identity,
        title=f"{data.title}, wrong on purpose: {wrong.named(data)}",
        splits=tuple(made if split.name == "fit" else split for split in data.splits),
        attribution=f"{data.attribution}. Here: {wrong.named(data)}, made wrong on purpose",
    )


def _changed(data: DataHandle, fit: Split, wrong: Wrong) -> tuple[NDArray[Any], NDArray[Any], Integers]:
    """Inputs as stored, labels, and the places in the fit split that they come from."""
    generator = np.random.default_rng([wrong.seed, OWN_DRAW])
    every: Integers = np.arange(len(fit.y))
    some = np.sort(generator.permutation(len(fit.y))[: round(wrong.share * len(fit.y))])
    if wrong.kind == "labels":
        y = fit.y.copy()
        y[some] = fit.y[generator.permutation(some)]
        return fit.x, y, every
    if wrong.kind == "missing":
        rows = np.flatnonzero(strata_of(fit.y) != wrong.code)
        return fit.x[rows], fit.y[rows], rows
    if wrong.kind == "group":
        rows = np.flatnonzero(fit.groups[wrong.group] == wrong.code)
        return fit.x[rows], fit.y[rows], rows
    if wrong.kind == "digits":
        digits = split_for_fitting(written_digits(), "fit")
        return digits.x, digits.y.astype(fit.y.dtype), np.arange(len(digits.y))
    x = fit.x.copy()
    x[some] = _mixed_words(fit.x, some, generator) if data.modality == "text" else _mixed(fit.x, some, generator)
    return x, fit.y, every


def _mixed(x: NDArray[Any], some: Integers, generator: np.random.Generator) -> NDArray[Any]:
    """Each value from another example at the same place: as likely as before by itself, and nothing together."""
    flat = x.reshape(len(x), -1)
    drawn = generator.integers(0, len(x), (len(some), flat.shape[1]))
    return flat[drawn, np.arange(flat.shape[1])].reshape(len(some), *x.shape[1:])


def _mixed_words(x: NDArray[Any], some: Integers, generator: np.random.Generator) -> NDArray[Any]:
    """Texts as long as before, of words drawn from all texts."""
    words = np.array([word for text in x.tolist() for word in text.split()], object)
    return np.array([" ".join(generator.choice(words, len(text.split()))) for text in x[some].tolist()], x.dtype)
