"""Texts as rows of token ids, by a tokenizer that is part of the model's folder and is never fitted again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import fingerprint
from core.errors import TemperError
from core.types import Integers

MOST_BYTES = 32 * 2**20  # of a tokenizer's file: ten times that of a vocabulary of 100,000 words


@dataclass(frozen=True)
class Tokens:
    """From texts to what the network reads: the first `length` token ids of each, the rest filled up.

    `path` is a `tokenizer.json` as the `tokenizers` library writes it. Ids travel as float32, which holds them
    exactly, and become integers inside the network.
    """

    path: Path
    stated: str
    length: int

    def apply(self, x: NDArray[Any], modality: str = "text") -> NDArray[np.float32]:
        """Token ids float32 `(N, length)` of texts `(N,)`. Raises `TemperError` where the tokenizer is damaged."""
        return np.array([one.ids for one in _checked(self).encode_batch(x.tolist())], np.float32)

    def pieces(self, text: str) -> list[tuple[int, int]]:
        """Where each of the `length` tokens begins and ends in the text; equal ends for those that are not of it."""
        return [tuple(span) for span in _checked(self).encode(text).offsets]

    def content(self) -> bytes:
        """The tokenizer's file, which travels with every artifact. Raises `TemperError` where it is damaged."""
        _checked(self)
        return self.path.read_bytes()

    @property
    def identity(self) -> list[Any]:
        """What names it in a data set's fingerprint."""
        return ["tokens", self.stated, self.length]

    def facts(self) -> dict[str, Any]:
        """What a user of an artifact must know."""
        return {
            "how": f"token ids by {self.path.name}, cut or filled up to {self.length}, as float32",
            "tokenizer": self.path.name,
            "length": self.length,
        }


def open_tokenizer(path: Path, length: int) -> Any:
    """Read a `tokenizer.json`, set to cut and fill up texts to `length`. Raises `TemperError`."""
    from tokenizers import Tokenizer

    if not path.exists():
        raise TemperError(f"The tokenizer should be at {path} and is not there.", "Give a tokenizer.json file.")
    if path.stat().st_size > MOST_BYTES:
        raise TemperError(f"{path.name} is larger than {MOST_BYTES // 2**20} MB, which no tokenizer needs.")
    try:
        found = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception for whatever it cannot read
        raise TemperError(
            f"{path.name} is no tokenizer as the tokenizers library writes it: {error!s:.120}.",
            "Save one with tokenizer.save('tokenizer.json').",
        ) from error
    filling = found.padding or {}
    found.enable_truncation(length)
    found.enable_padding(
        length=length, pad_id=filling.get("pad_id", 0), pad_token=filling.get("pad_token", "[PAD]"), direction="right"
    )
    return found


def pad_of(tokens: Tokens) -> int:
    """The id that fills up short texts."""
    return int(_checked(tokens).padding["pad_id"])


def size_of(tokens: Tokens) -> int:
    """How many pieces the tokenizer knows, those added to its vocabulary included."""
    return int(_checked(tokens).get_vocab_size())


@lru_cache(maxsize=8)
def _checked(tokens: Tokens) -> Any:
    if not tokens.path.exists() or fingerprint.of_file(tokens.path) != tokens.stated:
        raise TemperError(f"{tokens.path} is missing or differs from what its card states.", "Restore the file.")
    return open_tokenizer(tokens.path, tokens.length)


def packed(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Texts as arrays that a `.npz` holds: `text` uint8, all of them one after the other, and `ends` int64 `(N,)`."""
    parts = [text.encode("utf-8", "replace") for text in texts]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return {"text": np.frombuffer(b"".join(parts), np.uint8), "ends": ends}


def unpacked(text: NDArray[np.uint8], ends: Integers) -> NDArray[Any]:
    """The texts `(N,)` that `packed` stored. Raises `ValueError` where the arrays contradict each other."""
    starts = np.concatenate([[0], ends[:-1]])
    if ends.ndim != 1 or (len(ends) and (starts > ends).any()) or (len(ends) and ends[-1] != len(text)):
        raise ValueError("the ends of the texts contradict their length")
    whole = text.tobytes()
    found = np.empty(len(ends), object)
    found[:] = [whole[a:b].decode("utf-8", "replace") for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return found
