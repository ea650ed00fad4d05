"""What a person's model is asked for: classes or numbers, and the graph's end that makes its outputs mean that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.checks import Check
from core.data.archive import shown
from core.data.intake import Examples
from core.data.texts import Tokens, open_tokenizer, size_of
from core.errors import TemperError
from core.models.compare import Incoming
from core.models.ends import in_unit, scale_of, two_logits
from core.task import Output, Task, task_of_classes
from core.wish import Wish

LOOKED_FOR = {"1", "yes", "y", "true", "t", "positive", "pos"}  # names of the class that is looked for
OUTPUTS: tuple[Output, ...] = ("value", "log_scale")
TABLES = (".csv", ".tsv", ".txt", ".parquet")
AT_ONCE = 2_000  # texts


def tokens_of(wish: Wish, model: Incoming) -> Tokens | None:
    """The tokenizer of a network that reads texts. Raises `TemperError` where one is missing, or of no use."""
    name = shown(Path(wish.model).name)
    if wish.tokenizer is None:
        if wish.text is not None or (model.vocabulary and Path(wish.data).suffix.lower() in TABLES):
            raise TemperError(
                f"{name} reads token ids, and which id a word has only its tokenizer says."
                if model.vocabulary
                else f"{name} reads numbers, not token ids; a text column is nothing to it.",
                "Give the tokenizer.json it was trained with (--tokenizer)." if model.vocabulary else "Leave it out.",
            )
        return None
    if not model.vocabulary or len(model.input_shape) != 1:
        raise TemperError(
            f"{name} reads {list(model.input_shape)} numbers, not token ids: a tokenizer is nothing to it.",
            "Leave it out, or bring the network that looks up token ids.",
        )
    path, length = Path(wish.tokenizer), model.input_shape[0]
    try:
        open_tokenizer(path, length)
        return Tokens(path, fingerprint.of_file(path), length)
    except (OSError, ValueError) as error:
        raise TemperError(f"{shown(path.name)} cannot be read: {error!s:.100}.", "Give a tokenizer.json.") from error
    except BaseException as error:  # the library is written in Rust, whose panics are no ordinary exceptions
        if type(error).__name__ != "PanicException":
            raise
        raise TemperError(
            f"{shown(path.name)} is no tokenizer that the library can read.", "Save it again."
        ) from None


def checked_ids(tokens: Tokens, texts: NDArray[np.object_], model: Incoming) -> Check:
    """That the network knows every id the tokenizer gives. Raises `TemperError` where it does not."""
    highest = 0
    for start in range(0, len(texts), AT_ONCE):
        highest = max(highest, int(tokens.apply(texts[start : start + AT_ONCE]).max(initial=0)))
    pieces, rows = size_of(tokens), model.vocabulary
    if highest >= rows:
        raise TemperError(
            f"The tokenizer gives ids up to {highest:,} and the network knows {rows:,}: they do not belong together.",
            "Give the tokenizer.json that the network was trained with.",
        )
    said = f"{pieces:,} pieces, {rows:,} ids that the network knows"
    if pieces == rows:
        return Check("Tokenizer", True, said)
    return Check("Tokenizer", None if pieces < rows else False, f"{said}; is it the one it was trained with?")


def meant(model: Incoming, found: Examples, wish: Wish) -> tuple[Incoming, Task]:
    """The task, and the model with outputs that mean it. Raises `TemperError` where network and labels differ."""
    return _classes(model, found, wish) if found.classes else _numbers(model, found, wish)


def _numbers(model: Incoming, found: Examples, wish: Wish) -> tuple[Incoming, Task]:
    if model.classes > len(OUTPUTS):
        raise TemperError(
            f"The labels are numbers and the network has {model.classes:,} outputs.",
            "A network for numbers has one output, the value, or two: the value and the log of its standard "
            "deviation. Say --task classes where the numbers stand for classes.",
        )
    if wish.positive is not None or wish.classes is not None:
        raise TemperError("Numbers are predicted: there are no classes to name.", "Leave the class names out.")
    if wish.target_scale is not None:
        graph, notes = in_unit(model.graph, model.classes, *scale_of(wish.target_scale))
        model = replace(model, graph=graph, notes=(*model.notes, *notes))
    return model, Task("regression", (), 1, found.target, wish.unit or "", OUTPUTS[: model.classes])


def _classes(model: Incoming, found: Examples, wish: Wish) -> tuple[Incoming, Task]:
    if wish.target_scale is not None:
        raise TemperError(
            f"A target's scale is for numbers; the labels name {len(found.classes):,} classes.", "Leave it out."
        )
    if model.classes == 1:
        if len(found.classes) != 2:
            raise TemperError(
                f"The network has one output and the data names {len(found.classes):,} classes.",
                "One output is a number, or the logit of the second of two classes; more need an output for each.",
            )
        graph, notes = two_logits(model.graph, shown(found.classes[1]))
        model = replace(model, graph=graph, classes=2, notes=(*model.notes, *notes))
    if len(found.classes) != model.classes:
        names = ", ".join(found.classes[:4])
        two = " Numbers to predict: --task numbers." if model.classes == 2 else ""
        raise TemperError(
            f"The model tells {model.classes:,} classes apart; the data names {len(found.classes):,} ({names:.80}).",
            f"Load the data the model was trained for, or name the classes in the model's order (--classes).{two}",
        )
    return model, task_of_classes(found.classes, positive_of(found.classes, wish.positive))


def positive_of(classes: Sequence[str], wanted: str | None) -> int:
    """The place of the class that is looked for: as said, else one called yes, 1 or the like, else the second.

    Raises `TemperError` where there is no such class, or where more than two leave none to look for.
    """
    if wanted is not None:
        if len(classes) != 2:
            raise TemperError(
                f"A positive class is one of two; the data names {len(classes):,} classes.", "Leave it out."
            )
        if wanted not in classes:
            raise TemperError(
                f"The positive class is {' or '.join(shown(name, 40) for name in classes)}; got {shown(wanted, 40)}.",
                "Name one of these (--positive).",
            )
        return list(classes).index(wanted)
    named = [place for place, name in enumerate(classes) if name.strip().lower() in LOOKED_FOR]
    return named[0] if len(named) == 1 and len(classes) == 2 else 1
