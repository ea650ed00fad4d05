"""A short script that rebuilds a tempered model from its recipe and says whether it is the very same one."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np

from core import fingerprint
from core.data.handle import DataHandle
from core.engine.evaluate import evaluate
from core.engine.network import Network
from core.engine.transform import transform
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.types import Outcome

SCRIPT, RECIPE = "reproduce.py", "recipe.json"


@dataclass(frozen=True)
class Rebuilt:
    """A recipe applied again: what it is, and what it predicts on the evaluation split.

    `fingerprint` names model, data and recipe with everything that made the network; `weights` the content of its
    tensors; `right` of `n` evaluation examples are predicted right, after confidence calibration.
    """

    network: Network
    fingerprint: str
    weights: str
    headline: str
    n: int


def rebuild(model: ModelHandle, data: DataHandle, recipe: Recipe) -> Rebuilt:
    """Apply a recipe and evaluate it; what was computed before is not computed again. Raises `TemperError`."""
    network, _ = transform(model, data, recipe)
    result = evaluate(model, data, recipe)
    name = fingerprint.of_json([network.identity, data.fingerprint, recipe.fingerprint])
    return Rebuilt(network, name, _content(network), _headline(result.tempered), result.tempered.n)


def _headline(outcome: Outcome) -> str:
    """The leading metric to six digits, such as `accuracy 0.9337`."""
    lead = outcome.task.facts.headline
    return f"{lead} {method('metric', lead).function.of(outcome):.6g}"


def _content(network: Network) -> str:
    """Names the tensors that run by their bytes, in the order of their names."""
    parts = [
        [name, list(tensor.shape), fingerprint.of_bytes(np.ascontiguousarray(tensor.numpy()).tobytes())]
        for name, tensor in sorted(network.tensors.items())
    ]
    return fingerprint.of_json(parts)


def script(model_id: str, recipe: Recipe, expected: Rebuilt) -> str:
    """The script as text, made of `core` only. It exits with 1 where anything differs from `expected`.

    It holds the recipe; another one, given as a file on its command line, is applied instead.
    """
    lines = json.dumps(recipe.simplified().to_dict(), indent=4)
    return _TEMPLATE.format(
        model=repr(model_id), recipe=_literal(lines), fingerprint=expected.fingerprint, weights=expected.weights,
        headline=expected.headline, n=expected.n,
    )  # fmt: skip


def _literal(text: str) -> str:
    """JSON as a raw string literal; JSON's own escapes never hold three quotes in a row."""
    return f'r"""\n{text}\n"""'


def bundle(model_id: str, recipe: Recipe, expected: Rebuilt) -> bytes:
    """A zip file of the script with `recipe.json` beside it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in ((SCRIPT, script(model_id, recipe, expected)), (RECIPE, recipe.simplified().to_json())):
            # A fixed time, so that the same run gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text)
    return file.getvalue()


_TEMPLATE = '''"""Rebuild a model that Temper has tempered, and check that it is the same one.

Run it in Temper's folder with its interpreter: python reproduce.py [recipe.json] [--out model.onnx]
It exits with 0 where the rebuilt model is the expected one, with 1 where anything differs. --out also writes the
artifact, as its ending says: .onnx, .pt2 or .safetensors, and checks it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # so that core is found wherever this file lies

from core.deploy.check import ship
from core.models.samples import load_sample
from core.recipe import from_json
from core.reproduce import rebuild

MODEL = {model}
RECIPE = {recipe}
EXPECTED = {{
    "fingerprint": "{fingerprint}",  # model, data and recipe
    "weights": "{weights}",  # the tensors, byte for byte
    "headline": "{headline}",  # on {n} evaluation examples
}}

FORMATS = {{".onnx": "onnx", ".pt2": "pt2", ".safetensors": "packed"}}
parser = argparse.ArgumentParser()
parser.add_argument("recipe", nargs="?")
parser.add_argument("--out", type=Path)
given = parser.parse_args()
recipe = from_json(Path(given.recipe).read_text(encoding="utf-8") if given.recipe else RECIPE)
model, data = load_sample(MODEL)
found = rebuild(model, data, recipe)  # found.network holds the tempered tensors

differs = [name for name, value in EXPECTED.items() if getattr(found, name) != value]
for name, value in EXPECTED.items():
    print(f"{{name:12}} {{getattr(found, name)}}  expected {{value}}{{'  DIFFERS' if name in differs else ''}}")
if differs:
    print("This is not the expected model. Another recipe, model or data set changes the fingerprint; where only")
    print("weights or the last digits of the headline differ, the libraries or the processor round differently.")
if given.out:
    made = ship(model, data, recipe, FORMATS.get(given.out.suffix, "onnx"))
    given.out.write_bytes(made.content)
    verdict = "verified" if made.checked.verified else "NOT verified"
    print(f"{{given.out.name}}  {{made.checked.agree}} of {{made.checked.n}} predictions equal, {{verdict}}")
sys.exit(1 if differs else 0)
'''
