"""A recipe: the ordered steps that turn a trained model into a tempered one, as text one can share.

JSON form: `{"version": 1, "seed": 0, "steps": [{"kind": ..., "method": ..., "params": {...}}]}`; a step may also have
`"layers": {"layer1.0.conv1": {"weight_bits": 8}}`, what single layers have of their own.
A link carries the same JSON, compressed and base64url-encoded.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core import fingerprint
from core.errors import TemperError
from core.registry import STEP_KINDS, Value, brief, method
from core.task import TaskKind

VERSION = 1
PARTS = {"kind", "method", "params", "layers"}  # of a step
STEP_LIMIT = 50  # steps of a recipe: far above any in use
LAYER_LIMIT = 500  # layers with settings of their own: the largest networks of torchvision have some 270
LINK_LIMIT = 100_000  # bytes a link may unpack to: room for every step, far below a bomb


@dataclass(frozen=True)
class Step:
    """One step: `kind` and `method` name a registered method, `params` its complete parameters.

    `layers` holds, by layer, the parameters that this layer has of its own.
    """

    kind: str
    method: str
    params: tuple[tuple[str, Value], ...] = ()
    layers: tuple[tuple[str, tuple[tuple[str, Value], ...]], ...] = ()

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        given: Mapping[str, Any] | None = None,
        layers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Step:
        """A checked step with defaults filled in. Raises `TemperError`."""
        if kind not in STEP_KINDS:  # metrics and charts are methods too, but no steps
            raise TemperError(f"A step's kind must be one of {', '.join(STEP_KINDS)}; got {brief(kind)}.")
        declared = method(kind, name)
        if layers is not None and (not isinstance(layers, Mapping) or len(layers) > LAYER_LIMIT):
            many = f"{len(layers):,} of them" if isinstance(layers, Mapping) else type(layers).__name__
            raise TemperError(f"A step's layers must be an object of at most {LAYER_LIMIT} layers; got {many}.")
        own = {str(layer): declared.complete_layer(layer, values) for layer, values in (layers or {}).items()}
        checked = tuple(sorted((layer, tuple(sorted(values.items()))) for layer, values in own.items()))
        return cls(kind, name, tuple(sorted(declared.complete(given or {}).items())), checked)

    @property
    def values(self) -> dict[str, Value]:
        """The parameters by name."""
        return dict(self.params)

    @property
    def own(self) -> dict[str, dict[str, Value]]:
        """What single layers have of their own, by layer."""
        return {layer: dict(values) for layer, values in self.layers}

    @property
    def is_identity(self) -> bool:
        """Whether the step changes nothing."""
        every = (self.values, *(self.values | own for own in self.own.values()))
        return all(method(self.kind, self.method).is_identity(values) for values in every)

    def with_layer(self, layer: str, own: Mapping[str, Any]) -> Step:
        """The step with what one layer has of its own; with nothing it goes with the others again."""
        others = {name: values for name, values in self.own.items() if name != layer}
        return Step.of(self.kind, self.method, self.values, others | ({layer: own} if own else {}))

    def with_values(self, values: Mapping[str, Any]) -> Step:
        """The step with some parameters of the whole network changed."""
        return Step.of(self.kind, self.method, self.values | dict(values), self.own)


@dataclass(frozen=True)
class Recipe:
    """Ordered steps and a seed. Model, data, recipe and seed determine a result completely."""

    steps: tuple[Step, ...] = ()
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as plain values."""
        steps = [
            {"kind": s.kind, "method": s.method, "params": s.values} | ({"layers": s.own} if s.layers else {})
            for s in self.steps
        ]
        return {"version": VERSION, "seed": self.seed, "steps": steps}

    def to_json(self) -> str:
        """The JSON form as indented text, for a file."""
        return json.dumps(self.to_dict(), indent=2)

    def to_link(self) -> str:
        """The compact form for a URL: letters, digits, `-` and `_`."""
        text = json.dumps(self.to_dict(), separators=(",", ":"))
        return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")

    def suiting(self, task: TaskKind) -> Recipe:
        """The recipe without the steps whose methods do not suit a task."""
        kept = tuple(step for step in self.steps if task in method(step.kind, step.method).tasks)
        return replace(self, steps=kept)

    def without_layers(self) -> Recipe:
        """The recipe without what single layers have of their own, for another model."""
        return replace(self, steps=tuple(replace(step, layers=()) for step in self.steps))

    @property
    def fingerprint(self) -> str:
        """Names the recipe by its content; steps that change nothing do not count."""
        return fingerprint.of_json(self.simplified().to_dict())

    def simplified(self) -> Recipe:
        """The recipe without the steps that change nothing."""
        return replace(self, steps=tuple(s for s in self.steps if not s.is_identity))

    def only(self, *kinds: str) -> Recipe:
        """The recipe with the steps of these kinds only, in order."""
        return replace(self, steps=tuple(s for s in self.steps if s.kind in kinds))

    def without(self, *kinds: str) -> Recipe:
        """The recipe without the steps of these kinds."""
        return replace(self, steps=tuple(s for s in self.steps if s.kind not in kinds))

    @property
    def notation(self) -> str:
        """A short name in the field's notation, such as `50 % of channels · W4A8 · temperature`."""
        parts: list[str] = []
        for step in self.simplified().steps:
            values, declared = step.values, method(step.kind, step.method)
            if "sparsity" in values:
                share = 100 * float(values["sparsity"] or 0)
                counted = next(p.of for p in declared.parameters if p.name == "sparsity")
                parts.append(f"{share:.3g} % of {counted}" if counted else f"{share:.3g} % sparse")
            elif "pattern" in values:
                parts.append(f"{values['pattern']} sparse")
            elif "weight_bits" in values:
                rounding = values.get("rounding", "nearest")
                label = next((p.label(rounding) for p in declared.parameters if p.name == "rounding"), "")
                named = f" {label}" if rounding != "nearest" else ""
                dynamic = values.get("activation_scales") == "dynamic" and int(values["activation_bits"] or 32) <= 8
                named = f" dynamic{named}" if dynamic else named
                parts.append(f"W{values['weight_bits']}A{values.get('activation_bits', 32)}{named}")
            elif "epochs" in values:
                from_whom = f" from {values['teacher']}" if "teacher" in values and values.get("mix") else ""
                learned = float(values["epochs"] or 0) * float(values.get("until") or 1)  # stopped early, perhaps
                parts.append(f"{declared.title.lower()}{from_whom} {learned:.3g} epochs")
            elif "format" in values:
                parts.append(next(p.label(values["format"]) for p in declared.parameters if p.name == "format"))
            else:
                parts.append(step.method)
            if step.layers:
                some = f"{len(step.layers)} layer{'s' * (len(step.layers) > 1)}"
                resting = declared.is_identity(values) and step.kind == "prune"
                parts[-1] = f"{some} sparse" if resting else f"{parts[-1]} ({some} apart)"
        return " · ".join(parts) or "untouched"


def from_dict(given: Any) -> Recipe:
    """Check and build a recipe from plain values. Raises `TemperError` naming the step at fault."""
    if not isinstance(given, Mapping):
        raise TemperError(f"A recipe must be a JSON object with 'version' and 'steps'; got {type(given).__name__}.")
    version = given.get("version")
    if version != VERSION or isinstance(version, bool):
        raise TemperError(
            f"This recipe has version {brief(version)}; this Temper reads version {VERSION}.",
            "Make the link or file again with this version of Temper.",
        )
    unknown = set(given) - {"version", "seed", "steps"}
    if unknown:
        raise TemperError(f"A recipe has version, seed and steps; got also {brief(min(unknown, key=str))}.")
    seed = given.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise TemperError(f"A recipe's seed must be a whole number from 0 to {2**32 - 1}; got {brief(seed)}.")
    listed = given.get("steps", [])
    if not isinstance(listed, list):
        raise TemperError(f"A recipe's steps must be a list; got {type(listed).__name__}.")
    if len(listed) > STEP_LIMIT:
        raise TemperError(f"A recipe has at most {STEP_LIMIT} steps; got {len(listed):,}.")
    steps = []
    for number, item in enumerate(listed, 1):
        if not isinstance(item, Mapping) or not {"kind", "method"} <= set(item) <= PARTS:
            raise TemperError(f"Step {number} of the recipe must have kind, method and params; got {brief(item)}.")
        params = {} if item.get("params") is None else item["params"]
        if not isinstance(params, Mapping):
            raise TemperError(f"Step {number}: params must be an object; got {type(params).__name__}.")
        try:
            steps.append(Step.of(item["kind"], item["method"], params, item.get("layers")))
        except TemperError as error:
            raise TemperError(f"Step {number}: {error.message}", error.hint) from error
    return Recipe(tuple(steps), seed)


def from_json(text: str) -> Recipe:
    """Read the JSON form. Raises `TemperError`."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise TemperError(f"A recipe must be JSON; reading it failed: {error}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise TemperError("A recipe must be plain JSON; this text holds a huge number or nests too deep.") from error
    return from_dict(given)


def from_link(text: str) -> Recipe:
    """Read the form a link carries; plain JSON is accepted too. Raises `TemperError`."""
    if text.lstrip().startswith("{"):
        return from_json(text)
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        opened = zlib.decompressobj()
        plain = opened.decompress(packed, LINK_LIMIT)
        if opened.unconsumed_tail or not opened.eof:
            raise ValueError("too long or cut short")
        return from_json(plain.decode())
    except (binascii.Error, zlib.error, ValueError) as error:
        raise TemperError(
            "The recipe in this link cannot be read: it was cut short or changed on its way.",
            "Copy the whole link again.",
        ) from error
