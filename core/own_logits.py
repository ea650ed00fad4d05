"""A person's own logits without a model: what the calibration laboratory needs, from one file.

An `.npz` file with `logits` and `labels`, or those of `calibration_` and `evaluation_`, and perhaps `classes` (names)
and `groups` (names or whole numbers, prefixed like the rest); or a CSV file with columns of the same meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.calibrate import LARGEST_FILE, SPLITS, SUMS, Stated, read_logits_file
from core.calibration.calibration_lab import Column, Material
from core.calibration.cross_fit import folds
from core.calibrators._fitted import LEAST, softmax
from core.errors import TemperError
from core.logits_csv import parsed_csv
from core.task import task_of_classes
from core.types import Integers, Outcome, Provenance

Way = Literal["given", "halves", "crossed"]
ENDINGS = ("npz", "csv")
MOST_GROUPS = 50  # names of groups that a chart can hold


@dataclass(frozen=True)
class OwnLogits:
    """What a file holds: logits float `(N, C)`, labels int64 `(N,)` and groups `(N,)`, each by split.

    The splits are `calibration` and `evaluation`, or `''` alone. `fingerprint` names the content.
    """

    name: str
    stated: Stated
    classes: tuple[str, ...]
    logits: Mapping[str, NDArray[Any]]
    labels: Mapping[str, Integers]
    groups: Mapping[str, Integers] = field(default_factory=dict)
    group_names: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def one_split(self) -> bool:
        """Whether the file leaves open which examples calibrate and which judge."""
        return "" in self.logits

    @property
    def n(self) -> int:
        """Number of examples."""
        return sum(len(labels) for labels in self.labels.values())

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without any example."""
        seen = np.concatenate(list(self.labels.values()))
        return tuple(self.classes[k] for k in np.setdiff1d(np.arange(len(self.classes)), seen))

    @property
    def looks_like_probabilities(self) -> bool:
        """Whether every row could be one of probabilities though logits were stated."""
        return self.stated == "logits" and all(
            bool((z >= 0).all() and (np.abs(z.sum(1) - 1) <= SUMS).all()) for z in self.logits.values()
        )


def read_own(path: Path, stated: Stated, name: str = "", largest: int = LARGEST_FILE) -> OwnLogits:
    """Read a file. Raises `TemperError` for what it lacks, and where nothing says what its numbers are."""
    if stated not in ("logits", "probabilities"):
        raise TemperError("Does the file hold logits or probabilities?", "Say which: it is never guessed.")
    ending = path.suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise TemperError(f"Logits come as .npz or .csv; got {path.name:.80}.")
    if ending == "csv":
        arrays, classes, groups = parsed_csv(path, stated, largest)
    else:
        arrays = read_logits_file(path, stated, largest)
        classes, groups = _extras(path, arrays)
    splits = ("",) if "logits" in arrays else SPLITS
    logits = {split: arrays[_named(split, "logits")] for split in splits}
    labels = {split: arrays[_named(split, "labels")] for split in splits}
    names, codes = _codes(groups)
    for array in (*logits.values(), *labels.values(), *codes.values()):
        array.setflags(write=False)
    content = hashlib.sha256(repr((stated, classes, names)).encode())
    for split in splits:
        for array in (logits[split], labels[split], codes.get(split, np.zeros(0, np.int64))):
            content.update(repr((array.dtype.str, array.shape)).encode())
            content.update(np.ascontiguousarray(array).data)
    return OwnLogits(name or path.name, stated, classes, logits, labels, codes, names, content.hexdigest()[:16])


def ways(own: OwnLogits) -> tuple[Way, ...]:
    """How the examples can be told into those that calibrate and those that judge."""
    return ("halves", "crossed") if own.one_split else ("given",)


def own_material(own: OwnLogits, way: Way) -> Material:
    """What calibrations are fitted on and judged on. Raises `TemperError` where a half would be too small."""
    if way not in ways(own):
        raise TemperError(f"These logits can be used as {' or '.join(ways(own))}; got {way!r:.40}.")
    here, there = ("", "") if own.one_split else SPLITS
    rows: tuple[Any, Any] = (slice(None), slice(None))
    if way == "halves":
        if own.n < 2 * LEAST:
            raise TemperError(
                f"Each half needs at least {LEAST} examples; {own.n} leave {own.n // 2}.", "Take cross-fitting."
            )
        half = folds(own.labels[""], 2)
        rows = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    task = task_of_classes(own.classes)
    made = Provenance("", own.fingerprint, "", "uploaded", 0.0)
    parts = []
    for split, part in ((here, rows[0]), (there, rows[1])):
        logits = own.logits[split][part]
        parts.append(Outcome(logits, softmax(logits), own.labels[split][part], task, made))
    columns: tuple[Column, ...] = ()
    if own.groups:
        columns = (Column("group", own.group_names, own.groups[here][rows[0]], own.groups[there][rows[1]]),)
    key = ("own logits", own.fingerprint, way)
    return Material(key, parts[0], parts[1], None, columns, way == "crossed")


def _named(split: str, part: str) -> str:
    return f"{split}_{part}" if split else part


def _extras(path: Path, arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The names of the classes and the groups of an `.npz` file whose logits were read."""
    splits = ("",) if "logits" in arrays else SPLITS
    many = arrays[_named(splits[0], "logits")].shape[1]
    with np.load(path, allow_pickle=False) as file:
        held = {name: _plain(file, name) for name in ("classes", *(_named(split, "groups") for split in splits))
                if name in file.files}  # fmt: skip
    classes = tuple(f"class {place}" for place in range(many))
    if "classes" in held:
        given = held["classes"]
        classes = tuple(str(one) for one in given.reshape(-1)[: many + 1])
        if given.shape != (many,) or given.dtype.kind not in "USiu" or len(set(classes)) < many:
            raise TemperError(
                f"classes must be {many} different names, one for each column of the logits; got {given.dtype} "
                f"{given.shape}."
            )
    groups = {split: held[_named(split, "groups")] for split in splits if _named(split, "groups") in held}
    if groups and len(groups) < len(splits):
        raise TemperError("Groups are needed in both splits: calibration_groups and evaluation_groups.")
    for split, given in groups.items():
        n, name = len(arrays[_named(split, "labels")]), _named(split, "groups")
        if given.shape != (n,) or given.dtype.kind not in "USiub":
            raise TemperError(
                f"{name} must be {n} names or whole numbers, one an example; got {given.dtype} {given.shape}."
            )
    return classes, groups


def _plain(file: Any, name: str) -> NDArray[Any]:
    try:
        found = file[name]
        if isinstance(found, np.ndarray) and found.dtype.kind == "S":
            found = found.astype("U")
    except Exception as error:  # as of the logits: damaged entries end in a dozen types
        raise TemperError(
            f"{name} cannot be read as names or whole numbers.", "Write it with numpy.savez."
        ) from error
    if not isinstance(found, np.ndarray):
        raise TemperError(f"{name} must be a NumPy array; its bytes are not one.")
    return found


def _codes(groups: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], dict[str, Integers]]:
    """The groups' names in order and each example's place among them."""
    if not groups:
        return (), {}
    names, places = np.unique(np.concatenate(list(groups.values())), return_inverse=True)
    if len(names) > MOST_GROUPS:
        raise TemperError(f"At most {MOST_GROUPS} groups can be told apart; got {len(names):,}.")
    bounds = np.cumsum([len(one) for one in groups.values()])[:-1]
    parts = np.split(places.astype(np.int64), bounds)
    return tuple(str(name) for name in names), dict(zip(groups, parts, strict=True))
