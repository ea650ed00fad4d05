"""Do a model and its data belong together? Checked on the calibration split, never on the evaluation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.handle import Preprocessing
from core.data.intake import Examples
from core.data.texts import Tokens
from core.errors import TemperError
from core.models.compare import Incoming
from core.types import Floats, Integers, Labels

TRIED = 300  # calibration examples a normalisation is tried on: 1 standard error is at most 3 points
CHECKED = 1_000  # examples of the other checks
FEW = 30  # examples of a class below which a recall says little
BETTER = 0.05  # another normalisation is worth naming from this gain in accuracy on
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {
    "published": "as the published weights were trained",
    "as-is": "the stored values themselves",
    "unit": "0 to 1",
    "signed": "-1 to 1",
    "imagenet": "0 to 1, then ImageNet's mean and deviation by channel",
    "standard": "mean 0 and deviation 1, by channel or column, taken from the calibration split",
}


@dataclass(frozen=True)
class Normalisation:
    """A preprocessing, why it was taken, and how each that was tried did on calibration examples: its accuracy or,
    for numbers, R2."""

    name: str
    preprocessing: Preprocessing | Tokens
    why: str
    tried: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Offer:
    """What was tested and did better: the fields of a wish that bring it about, and the accuracy (numbers: R2)."""

    change: dict[str, Any]
    accuracy: float


@dataclass(frozen=True)
class Check:
    """One thing that was checked: `ok` True, False (a warning), or None for a mere statement."""

    title: str
    ok: bool | None
    said: str
    offers: tuple[Offer, ...] = ()


Predict = Any


def predictor_of(model: Incoming) -> Predict:
    """Logits `(N, C)` of inputs `(N, ...)`, some at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.graph.whole().SerializeToString(), options, ["CPUExecutionProvider"])
    step = max(1, min(100, 2**21 // int(np.prod(model.input_shape))))

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [session.run(None, {"input": inputs[i : i + step]})[0] for i in range(0, len(inputs), step)]
        return np.concatenate(parts)

    return predict


def kinds_of(x: NDArray[Any], model: Incoming, published: Preprocessing | None) -> dict[str, Preprocessing]:
    """The usual preprocessings for such values, the likeliest first."""
    pictures = len(model.input_shape) == 3
    channels = model.input_shape[0]
    byte = x.dtype == np.uint8 or (pictures and float(x.max(initial=0)) > 2 and float(x.min(initial=0)) >= 0)
    scale = 255.0 if byte else 1.0
    zeros, ones, halves = (tuple([value] * channels) for value in (0.0, 1.0, 0.5))
    found: dict[str, Preprocessing] = {}
    if published is not None and len(published.mean) == channels:
        found["published"] = replace(published, scale=scale)
    found["as-is"] = Preprocessing(1.0, zeros, ones)
    if model.vocabulary:  # ids are no amounts
        return {"as-is": found["as-is"]}
    if byte:
        found["unit"] = Preprocessing(scale, zeros, ones)
        found = {"unit": found.pop("unit"), **found} if published is None else found
    if pictures:
        found["signed"] = Preprocessing(scale, halves, halves)
    if channels == 3 and pictures:
        found["imagenet"] = Preprocessing(scale, *IMAGENET)
    axes = tuple(range(x.ndim - 1)) if x.ndim == 4 else None if pictures else 0
    values = x.astype(np.float64) / scale
    mean, deviation = np.atleast_1d(values.mean(axes)), np.atleast_1d(values.std(axes))
    deviation = np.where(deviation > 1e-12, deviation, 1.0)
    found["standard"] = Preprocessing(scale, tuple(mean.tolist()), tuple(deviation.tolist()))
    return found


def choose(
    model: Incoming, x: NDArray[Any], y: Labels, found: Examples, published: Preprocessing | None, asked: str | None
) -> Normalisation:
    """The preprocessing asked for, else the published one, else the best of the usual ones on calibration examples.

    Raises `TemperError` for an unknown name.
    """
    kinds = kinds_of(x, model, published)
    if asked is not None:
        return Normalisation(asked, _asked(asked, kinds, model), "as you said")
    modality = "pictures" if len(model.input_shape) == 3 else "table"
    predict, part = predictor_of(model), evenly(len(x), TRIED)
    judge = accuracies if found.classes else by_numbers
    tried = judge(predict, kinds, x[part], y[part], modality)
    first, accuracy = tried[0]
    best, most = max(tried, key=lambda pair: pair[1])
    if published is not None or most < accuracy + BETTER:
        why = NORMALISATIONS["published"] if first == "published" else "the usual one; no other did clearly better"
        return Normalisation(first, kinds[first], why, tuple(tried))
    why = f"the best of {len(tried)} usual ones on {len(part):,} calibration examples"
    return Normalisation(best, kinds[best], why, tuple(tried))


def accuracies(
    predict: Predict, kinds: dict[str, Preprocessing], x: NDArray[Any], y: Integers, modality: str
) -> list[tuple[str, float]]:
    """What each preprocessing gives on these examples."""
    found = []
    for name, kind in kinds.items():
        logits = predict(kind.apply(x, modality))
        found.append((name, float((logits.argmax(1) == y).mean())))
    return found


def by_numbers(
    predict: Predict, kinds: dict[str, Preprocessing], x: NDArray[Any], y: Labels, modality: str
) -> list[tuple[str, float]]:
    """How near each preprocessing brings the values, by squared error: 1 minus its share of the targets' variance.

    Where none is better than always the mean, the targets may have been scaled in training: then the error after
    the best straight line decides.
    """
    values = {name: predict(kind.apply(x, modality))[:, 0].astype(np.float64) for name, kind in kinds.items()}
    plain = [(name, explained(found, y)) for name, found in values.items()]
    if max(score for _, score in plain) > 0:
        return plain
    return [(name, line_through(found, y)[2]) for name, found in values.items()]


def explained(values: Floats, y: Floats) -> float:
    """R2: 1 minus the mean squared error over the variance of the targets `y`; at least -1e9."""
    if not np.isfinite(values).all():
        return -1e9
    return max(-1e9, 1 - float(((y - values) ** 2).mean() / max(float(y.var()), 1e-300)))


def line_through(values: Floats, y: Floats) -> tuple[float, float, float]:
    """Intercept and slope of the least squares line from `values` to the targets `y`, and its R2."""
    spread = float(values.var()) if np.isfinite(values).all() else 0.0
    if not spread > 0:
        return float(y.mean()), 0.0, 0.0
    slope = float(((values - values.mean()) * (y - y.mean())).mean()) / spread
    intercept = float(y.mean() - slope * values.mean())
    return intercept, slope, explained(intercept + slope * values, y)


def _asked(text: str, kinds: dict[str, Preprocessing], model: Incoming) -> Preprocessing:
    if text in kinds:
        return kinds[text]
    try:
        mean, deviation = (tuple(float(v) for v in part.split(",")) for part in text.split(";"))
        if len(mean) == len(deviation) == model.input_shape[0] and min(deviation) > 0:
            return Preprocessing(next(iter(kinds.values())).scale, mean, deviation)
    except ValueError:
        pass
    raise TemperError(
        f"A normalisation is one of {', '.join(kinds)}, or {model.input_shape[0]} means and deviations written as "
        f"0.5,0.5;0.2,0.2; got {text:.60}."
    )


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` places among `count`, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def checks(model: Incoming, x: NDArray[Any], y: Labels, found: Examples, chosen: Normalisation) -> tuple[Check, ...]:
    """What was checked, in the order a person would ask. Raises `TemperError` for logits that are not finite."""
    part = evenly(len(x), CHECKED)
    predict = predictor_of(model)
    inputs, labels = chosen.preprocessing.apply(x[part], found.modality), y[part]
    logits = outputs_of(predict, inputs)
    said = [
        Check("Same as the original", True, f"logits equal the file's own to {model.difference:.0e} of the largest"),
        Check("Finite", True, f"every logit of {len(part):,} calibration examples is a finite number"),
        repeatable(predict, inputs, logits),
        Check("Classes", True, f"{model.classes:,} outputs, {len(found.classes):,} classes in the data"),
    ]
    right = float((logits.argmax(1) == labels).mean())

    def others() -> list[tuple[str, float]]:
        """What the usual normalisations give: as they were tried already, or, where one was asked for, now."""
        few = evenly(len(x), TRIED)
        if chosen.tried or isinstance(chosen.preprocessing, Tokens):
            return list(chosen.tried)
        return accuracies(predict, kinds_of(x, model, None), x[few], y[few], found.modality)

    said.append(_belongs(right, logits, labels, found, chosen, others))
    counts = np.bincount(found.y, minlength=len(found.classes))
    least = int(counts.argmin())
    rarest = f"the rarest class, {found.classes[least]}, has {counts[least]:,} of {len(found.y):,} examples"
    few = counts[least] < FEW
    said.append(Check("Balance", False if few else None, rarest + ("; its intervals will be wide" if few else "")))
    return tuple(said)


def outputs_of(predict: Predict, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network gives, float32 `(N, C)`. Raises `TemperError` where it is not finite."""
    outputs = predict(inputs)
    if not np.isfinite(outputs).all():
        raise TemperError(
            f"The model gives NaN or infinite outputs for {int((~np.isfinite(outputs)).any(1).sum()):,} of "
            f"{len(inputs):,} examples.",
            "Check the normalisation of the data and the model's weights.",
        )
    return np.asarray(outputs)


def repeatable(predict: Predict, inputs: NDArray[np.float32], logits: NDArray[np.float32]) -> Check:
    """Whether the same inputs give the same outputs, alone and in company."""
    few = inputs[:20]
    again, alone = predict(few), np.concatenate([predict(few[i : i + 1]) for i in range(len(few))])
    size = max(1e-6, float(np.abs(logits).max()))
    if not np.array_equal(again, predict(few)):
        return Check(
            "Repeatable", False, "the same input gives different logits: dropout or noise is still switched on"
        )
    apart = float(np.abs(alone - again).max()) / size
    if apart > 1e-3:
        return Check("Repeatable", False, "an example's logits depend on its neighbours in the batch")
    return Check("Repeatable", True, "the same logits every time, alone and in company")


def _belongs(
    right: float, logits: NDArray[np.float32], labels: Integers, found: Examples, chosen: Normalisation,
    others: Callable[[], list[tuple[str, float]]],
) -> Check:  # fmt: skip
    """Near chance? Then the two likeliest causes, each tested on the same calibration examples."""
    n = len(labels)
    most = float(np.bincount(labels, minlength=len(found.classes)).max() / n)
    spread = 2 * float(np.sqrt(most * (1 - most) / n))
    said = (
        f"{100 * right:.1f} % of {n:,} calibration examples are right; always the commonest class: {100 * most:.1f} %"
    )
    if right > most + spread:
        return Check("Belong together", True, said)
    causes, offers = [], []
    best = max(others(), key=lambda pair: pair[1], default=("", 0.0))
    if best[1] > right + BETTER and best[0] != chosen.name:
        causes.append(f"normalisation '{best[0]}' would give {100 * best[1]:.1f} %")
        offers.append(Offer({"normalise": best[0]}, best[1]))
    order, permuted = _permuted(logits, labels, len(found.classes))
    if permuted > max(right + BETTER, most + spread):
        moved = [(found.classes[i], found.classes[j]) for i, j in enumerate(order) if i != j][:2]
        swaps = ", ".join(f"{a} as {b}" for a, b in moved)
        causes.append(f"classes in another order would give {100 * permuted:.1f} % ({swaps})")
        offers.append(Offer({"classes": [found.classes[j] for j in order]}, permuted))
    neither = "neither another normalisation nor another class order does better"
    if isinstance(chosen.preprocessing, Tokens):
        neither = "no other class order does better; is this the tokenizer that the network was trained with?"
    tested = "; ".join(causes) or neither
    return Check("Belong together", False, f"{said}, so this is near chance. Tested: {tested}", tuple(offers))


def _permuted(logits: NDArray[np.float32], labels: Integers, classes: int) -> tuple[list[int], float]:
    """The class each output should stand for so that most examples are right, and the accuracy then."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((classes, classes))
    np.add.at(counts, (logits.argmax(1), labels), 1)
    rows, columns = linear_sum_assignment(-counts)
    return columns.tolist(), float(counts[rows, columns].sum() / len(labels))
