"""Will these data do? Everything that is looked at, and what it comes to in plain sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from core.data.balance import class_counts
from core.data.handle import DataHandle, Split, load_split, split_for_fitting
from core.engine.runtime import Progress
from core.errors import TemperError
from core.jobs.background import Named, named
from core.models.handle import ModelHandle
from core.training.examples import augmented
from core.training.suitability.distance import Distance, distance
from core.training.suitability.duplicates import Duplicates, bar_of, duplicates, hashes
from core.training.suitability.features import features, main_axes
from core.training.suitability.label_noise import LabelNoise, label_noise
from core.types import Integers

ALTERED = 300  # examples changed lightly to learn how alike an example and its copy are
RARE = 0.1  # of the commonest class
UNLIKE = 0.1  # of the examples that would have to change class for two splits to have the same shares
FAR = 0.75  # of the area under the curve: three of four pairs are told apart
MANY = 0.05  # of the labels
About = Literal["classes", "distance", "copies", "labels"]
How = Literal["good", "look", "bad"]


@dataclass(frozen=True)
class Finding:
    """A verdict in one sentence, what it is about, and whether it is good, worth a look or bad."""

    about: About
    how: How
    text: str


@dataclass(frozen=True)
class Suitability:
    """What was found of the fit split of `offered`, seen beside the pair's calibration and evaluation examples.

    `counts` int64 `(C,)` by split; none where numbers are predicted, whose `noise` is None too. `own` says whether
    the data are the pair's own.
    """

    offered: DataHandle
    own: bool
    counts: dict[str, Integers]
    distance: Distance
    copies: Duplicates
    noise: LabelNoise | None
    findings: tuple[Finding, ...]


def why_not(model: ModelHandle, data: DataHandle, offered: DataHandle) -> str:
    """Why a data set cannot be looked at beside a pair's own; nothing where it can."""
    if not any(split.name == "fit" and split.n > 1 for split in offered.splits):
        return f"'{offered.title}' has no fit split to learn from."
    if offered.modality != data.modality:
        return f"The model reads {data.modality}, and '{offered.title}' holds {offered.modality}."
    shape = load_split(offered, "fit").inputs.shape[1:]
    if shape != load_split(data, "calibration").inputs.shape[1:]:
        return f"The model reads inputs of {_by(load_split(data, 'calibration').inputs.shape[1:])}; got {_by(shape)}."
    if offered.modality == "text" and offered.preprocessing.identity != data.preprocessing.identity:
        return f"'{offered.title}' is read with another vocabulary."
    return ""


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def suitability(model: ModelHandle, data: DataHandle, offered: DataHandle, told: Progress) -> Suitability:
    """Look at what would be learned from. Nothing is fitted on evaluation examples, which are only compared with.

    Raises `TemperError` where the data do not suit the model at all.
    """
    if why := why_not(model, data, offered):
        raise TemperError(why, "Take data of the same kind and shape.")
    fit, calibration, evaluation = (
        split_for_fitting(offered, "fit"),
        split_for_fitting(data),
        load_split(data, "evaluation"),
    )
    own = offered.fingerprint == data.fingerprint
    part = _parts(told)
    seen = {split.name: features(model, split.inputs, part(0.2)) for split in (fit, calibration, evaluation)}
    axes = main_axes(seen["calibration"])
    along = {name: axes.of(values) for name, values in seen.items()}
    far = distance(along["calibration"], along["fit"], axes.explained, part(0.15))
    altered = axes.of(features(model, _altered(calibration, data.modality), lambda _: None))
    bar = bar_of(along["calibration"][: len(altered)], altered)
    names = (hashes(fit.inputs), hashes(evaluation.inputs))
    copies = duplicates(along["fit"], along["evaluation"], along["calibration"], names, bar, part(0.1))
    noise = label_noise(along["fit"], fit.y, part(0.15)) if offered.task.decides else None
    counts: dict[str, Integers] = {}
    if offered.task.decides:
        counts |= {str(split): part for split, part in class_counts(offered).items()}
    findings = (*_classes(offered, counts), _far(far, own), _copies(copies), *_labels(noise, own))
    return Suitability(offered, own, counts, far, copies, noise, findings)


def _altered(split: Split, modality: str) -> np.ndarray:
    return augmented(torch.from_numpy(np.array(split.inputs[:ALTERED])), modality, 0).numpy()


def _parts(told: Progress) -> Callable[[float], Progress]:
    """Makes one progress call out of several, each with its share of the whole."""
    done = 0.0

    def part(share: float) -> Progress:
        nonlocal done
        start, done = done, done + share
        return lambda fraction: told(start + share * fraction)

    return part


def looked_at(model: ModelHandle, data: DataHandle, offered: DataHandle) -> Named:
    """The look at a data set as background work; its result is kept while this process lasts."""
    key = ("suitability", model.fingerprint, data.fingerprint, offered.fingerprint, offered.id)
    return named(key, lambda told: suitability(model, data, offered, told))


def _classes(data: DataHandle, counts: dict[str, Integers]) -> tuple[Finding, ...]:
    if not counts:
        return ()
    fit = counts["fit"]
    missing = [data.classes[i] for i in np.flatnonzero(fit == 0)]
    if missing:
        return (Finding("classes", "bad", f"No example to learn from is of {', '.join(missing[:5])}."),)
    rare, common = int(fit.argmin()), int(fit.argmax())
    shares = [part / max(part.sum(), 1) for part in (fit, counts["evaluation"])]
    moved = float(np.abs(shares[0] - shares[1]).sum()) / 2
    text = f"From {fit[rare]:,} examples of {data.classes[rare]} to {fit[common]:,} of {data.classes[common]}"
    if fit[rare] == fit[common]:
        text = f"{fit[rare]:,} examples of every class"
    if moved > UNLIKE:
        return (Finding("classes", "look", f"{text}; the shares differ by {100 * moved:.0f} % from evaluation's."),)
    how: How = "look" if fit[rare] < RARE * fit[common] else "good"
    end = "rare classes are learned badly" if how == "look" else "every class has its share"
    return (Finding("classes", how, f"{text}: {end}."),)


def _far(found: Distance, own: bool) -> Finding:
    value, top = found.auc.value or 0.0, max(found.chance)
    told = f"A classifier tells them from calibration examples with an area of {value:.3f} under its curve"
    if not found.apart:
        return Finding("distance", "good", f"{told}, no more than two halves of those ({top:.3f} at most).")
    how: How = "bad" if value > FAR else "look"
    why = "; the network may have learned these by heart" if own else ""
    text = f"{told}, two halves of those with {top:.3f} at most: the network sees something else in them{why}."
    return Finding("distance", how, text)


def _copies(found: Duplicates) -> Finding:
    if found.exact:
        many = "example is" if found.exact == 1 else "examples are"
        text = f"{found.exact:,} of {found.n:,} evaluation {many} among them, read as the very same, which flatters."
        return Finding("copies", "bad", text)
    near, chance = found.near.value or 0.0, found.chance.value or 0.0
    text = (
        f"None of {found.n:,} evaluation examples is among them as it is read; {100 * near:.1f} % have a near one, "
        f"{100 * chance:.1f} % among as many calibration examples"
    )
    how: How = "look" if found.more else "good"
    return Finding("copies", how, f"{text}: {'more than' if found.more else 'no more than'} chance brings.")


def _labels(found: LabelNoise | None, own: bool) -> tuple[Finding, ...]:
    if found is None:
        return ()
    share, ends = found.share.value or 0.0, found.share.interval
    assert ends is not None
    text = (
        f"About {100 * share:.1f} % of the labels ({100 * ends.low:.1f} to {100 * ends.high:.1f} %) look wrong, or "
        f"are of examples whose features speak for another class; an estimate that finds {100 * found.found:.0f} %"
        " of labels made wrong on purpose"
    )
    heart = "; a network that learned them by heart hides some" if own else ""
    how: How = "look" if share > MANY else "good"  # where classes overlap, right labels are doubted too
    return (Finding("labels", how, f"{text}{heart}."),)
