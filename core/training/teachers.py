"""Who teaches: another network, the same one as it was before, or trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.handle import DataHandle, Preprocessing
from core.engine.network import Network, load_network
from core.engine.observed import Observed
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.models.samples import load_sample, own_ids, sample_ids, titles
from core.training.boosted import boosted, fits_on
from core.training.device import CPU, moved

Teacher = Callable[[Tensor], Tensor]
ORIGINAL, BOOSTING = "original", "boosting"


@dataclass(frozen=True)
class Known:
    """A teacher by name: `title` for people, `fingerprint` of all that decides its answers.

    `model` is the network that teaches, None where trees do. `reads` turns what the student reads `(N, ...)` into
    what the teacher does.
    """

    name: str
    title: str
    fingerprint: str
    model: ModelHandle | None
    reads: Teacher

    def teach(self, data: DataHandle) -> Teacher:
        """Outputs `(N, C)` of what the student reads. Trees are grown for it, on the fit split of `data` alone."""
        if self.model is None:
            return boosted(data).teach
        outputs = teaching(self.model)
        return lambda x: outputs(self.reads(x))

    def read(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the teacher reads of inputs `(N, ...)` as the student reads them."""
        found: NDArray[np.float32] = self.reads(torch.from_numpy(np.array(inputs))).numpy()
        return found


AHEAD = 256  # examples a call where nothing is learned


@dataclass(frozen=True)
class FromTeacher:
    """A loss against a teacher: `compare(outputs, y, x, wanted)` with what the teacher makes of `x`.

    Where it meets the same inputs every epoch, the training loop asks the teacher once and gives `wanted` itself.
    """

    teacher: Teacher
    compare: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

    def __call__(self, outputs: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The mean over a batch."""
        return self.compare(outputs, y, x, self.teacher(x))

    def answers(self, x: Tensor, where: torch.device = CPU) -> Tensor:
        """The teacher's outputs `(N, C)` of `x`, a part at a time: the same whenever they are asked for.

        It answers on the device `where`; what it says lies in the processor's memory, as `x` does.
        """
        return torch.cat([self.teacher(moved(part, where)).to(CPU) for part in x.split(AHEAD)])


def as_before(network: Network) -> Teacher:
    """The network's model as it came, before any step."""
    return teaching(network.model)


def teaching(model: ModelHandle) -> Teacher:
    """A model's outputs `(N, C)` of inputs `(N, ...)`, computed on the device where these lie."""
    on = lru_cache(maxsize=1)(Observed(load_network(model)).eval().to)

    def outputs(x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = on(x.device)(x)
        return found

    return outputs


def teacher(name: str, model: ModelHandle, data: DataHandle) -> Known:
    """The teacher of a name, for a student `model` that learns on `data`. Raises `TemperError` where it cannot."""
    if name == ORIGINAL:
        return Known(name, f"{model.title}, as it came", model.fingerprint, model, _as_it_is)
    if name == BOOSTING:
        return Known(name, "Gradient boosting", fits_on(data), None, _as_it_is)
    if name == model.id:
        raise TemperError(
            f"'{name}' cannot teach itself.", f"Take '{ORIGINAL}' to teach a changed copy of it, or another model."
        )
    listed = (*sample_ids(), *own_ids())
    if name not in listed:
        raise TemperError(
            f"No teacher is called {name!r:.80}; there are: {', '.join((ORIGINAL, BOOSTING, *listed))}."
        )
    found, theirs = load_sample(name)
    _check(model, data, found, theirs)
    return Known(name, found.title, found.fingerprint, found, _reader(data, theirs))


def teachers(model: ModelHandle, data: DataHandle) -> dict[str, str]:
    """Titles of all that can teach a model on its data, by name."""
    named, found = titles(), dict[str, str]()
    for name in (*sample_ids(), *own_ids(), BOOSTING, ORIGINAL):
        try:
            found[name] = named.get(name, teacher(name, model, data).title)
            teacher(name, model, data)
        except TemperError:
            found.pop(name, None)
    return found


def _check(model: ModelHandle, data: DataHandle, other: ModelHandle, theirs: DataHandle) -> None:
    who = f"'{other.id}' cannot teach '{model.id}'"
    if theirs.task.kind != data.task.kind or theirs.task.outputs != data.task.outputs:
        raise TemperError(f"{who}: it predicts {_what(theirs)}, the student {_what(data)}.")
    if theirs.classes != data.classes:
        raise TemperError(f"{who}: its classes are {_few(theirs.classes)}, the student's {_few(data.classes)}.")
    if (theirs.task.target, theirs.task.unit) != (data.task.target, data.task.unit):
        raise TemperError(f"{who}: it predicts {theirs.task.target}, the student {data.task.target}.")
    if theirs.modality != data.modality:
        raise TemperError(f"{who}: it reads {theirs.modality}, the student {data.modality}.")
    if other.input_shape != model.input_shape:
        sizes = (" x ".join(map(str, shape)) for shape in (other.input_shape, model.input_shape))
        raise TemperError(f"{who}: it reads inputs of {next(sizes)}, the student of {next(sizes)}.")
    if theirs.features != data.features:
        raise TemperError(f"{who}: its table has other columns, {_few(theirs.features)}.")
    texts = not isinstance(theirs.preprocessing, Preprocessing)
    if texts and theirs.preprocessing.identity != data.preprocessing.identity:
        raise TemperError(f"{who}: it knows words by other numbers, as its vocabulary is another.")


def _what(data: DataHandle) -> str:
    return f"{len(data.classes)} classes" if data.task.decides else f"numbers ({', '.join(data.task.outputs)})"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _reader(own: DataHandle, theirs: DataHandle) -> Teacher:
    """From what one network reads to what the other does, where both scale the same stored values differently."""
    a, b = own.preprocessing, theirs.preprocessing
    if not isinstance(a, Preprocessing) or not isinstance(b, Preprocessing) or a == b:
        return _as_it_is
    shape = (1, -1, 1, 1) if own.modality == "pictures" else (1, -1)

    numbers = [torch.tensor(part).reshape(shape) for of in (a, b) for part in (of.mean, of.deviation)]
    on = lru_cache(maxsize=1)(lambda where: [part.to(where) for part in numbers])
    ratio = a.scale / b.scale

    def read(x: Tensor) -> Tensor:
        mean, deviation, their_mean, their_deviation = on(x.device)
        found: Tensor = ((x * deviation + mean) * ratio - their_mean) / their_deviation
        return found

    return read
