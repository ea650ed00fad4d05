"""Which words of a text speak for a prediction: each left out in turn (Zeiler and Fergus 2014, arXiv 1311.2901)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.handle import DataHandle, load_split
from core.data.texts import Tokens, pad_of
from core.deploy.graph import assemble
from core.engine.lane import lane, rest
from core.engine.memory import RESULTS
from core.engine.network import Network
from core.engine.runtime import predictor, usual_chunk
from core.types import Floats

LETTERS = 280  # of a text that is shown: the stretch in which the words matter most


@dataclass(frozen=True)
class Word:
    """A stretch `[start, end)` of the excerpt and its weight, -1 to 1: the part it has in the prediction."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Excerpt:
    """The part of a text in which the words matter most, and the words that the network reads there."""

    text: str
    words: tuple[Word, ...]
    before: bool  # whether the text begins earlier
    after: bool  # or goes on


def excerpts(network: Network, data: DataHandle, places: Sequence[int]) -> list[Excerpt]:
    """Excerpts of evaluation texts, each word weighted by what leaving it out takes from the prediction.

    That is the margin of the predicted class over the next best, in logits before confidence calibration, or the
    value where numbers are predicted; weights are shares of the largest in the text. Remembered for a network.
    """
    return [_remembered(network, data, place) for place in places]


def _remembered(network: Network, data: DataHandle, place: int) -> Excerpt:
    key = ("excerpt", network.identity, data.fingerprint, place)
    return RESULTS.remember(key, lambda: _excerpt(network, data, place), lambda found: 200 + 3 * len(found.text))


def _excerpt(network: Network, data: DataHandle, place: int) -> Excerpt:
    tokens, split = data.preprocessing, load_split(data, "evaluation")
    assert isinstance(tokens, Tokens)
    text, row = str(split.x[place]), split.inputs[place]
    spans = tokens.pieces(text)
    here = [k for k, (start, end) in enumerate(spans) if end > start]
    if not here:
        return Excerpt(text[:LETTERS], (), False, len(text) > LETTERS)
    without = np.repeat(row[None], len(here) + 1, axis=0)
    without[np.arange(1, len(here) + 1), here] = pad_of(tokens)
    effect = _effects(network, data, without)
    largest = float(np.abs(effect).max()) or 1.0
    return _cut(text, [(*spans[k], float(e / largest)) for k, e in zip(here, effect, strict=True)])


def _effects(network: Network, data: DataHandle, inputs: NDArray[np.float32]) -> Floats:
    """What each row after the first lacks of what the first one says `(n - 1,)`."""
    predict = RESULTS.remember(
        ("predictor", network.identity), lambda: predictor(assemble(network)), lambda _: network_bytes(network)
    )
    step, found = usual_chunk(inputs.shape[1:]), []
    for start in range(0, len(inputs), step):
        with lane():
            found.append(predict(inputs[start : start + step]).astype(np.float64))
        rest()
    outputs = np.concatenate(found)
    if not data.task.decides:
        return outputs[0, 0] - outputs[1:, 0]
    best = int(outputs[0].argmax())
    margin = outputs[:, best] - np.delete(outputs, best, 1).max(1)
    return margin[0] - margin[1:]


def network_bytes(network: Network) -> int:
    """Bytes of a network's tensors."""
    return sum(tensor.nbytes for tensor in network.tensors.values())


def _cut(text: str, words: list[tuple[int, int, float]]) -> Excerpt:
    """The stretch of at most `LETTERS` that holds the most weight: whole words, or the beginning of a longer one."""
    words = [(a, min(b, a + LETTERS), weight) for a, b, weight in words]
    best, first, last = -1.0, 0, 0
    stop, weight = 0, 0.0
    for start in range(len(words)):
        while stop < len(words) and words[stop][1] - words[start][0] <= LETTERS:
            weight += abs(words[stop][2])
            stop += 1
        if weight > best:
            best, first, last = weight, start, max(stop - 1, start)
        weight -= abs(words[start][2])
    low, high = words[first][0], words[last][1]
    if len(text) <= LETTERS:
        low, high = 0, len(text)
    inside = tuple(Word(a - low, b - low, w) for a, b, w in words if low <= a and b <= high)
    return Excerpt(text[low:high], inside, low > 0, high < len(text))
