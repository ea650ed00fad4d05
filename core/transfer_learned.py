"""What a moved model has learned, kept as a model of its own."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from core import fingerprint
from core.checks import Check
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import graph_of_model
from core.models.samples import load_sample, own_home, own_ids, read_card
from core.recipe import Recipe
from core.transfer import LONGEST, keep_whole


def settle(pair: str, recipe: Recipe) -> str:
    """Keep what a moved model has learned as a model of its own, whose original is the learned network.

    `recipe` trains and does nothing else, and was run on this machine. So compression is held against what was
    learned and not against a last layer that knew nothing. Returns the model's name; the same again gives the same.
    Raises `TemperError` where the recipe does more, or where nothing can be kept.
    """
    home, (model, data) = own_home(), load_sample(pair)
    bare = recipe.without("calibrate").simplified()
    if home is None or pair not in own_ids():
        raise TemperError(f"'{pair}' is no model of your own, so nothing is kept beside it.")
    if not bare.steps or bare.only("train") != bare:
        raise TemperError("What was learned is kept as a model where the recipe trains and does nothing else.")
    network, _ = transform(model, data, bare)
    tensors = {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in network.tensors.items()}
    if {name: array.shape for name, array in tensors.items()} != graph_of_model(model).shapes:
        raise TemperError("This training changed the network's shape, so it cannot stand in for it.")
    name = f"{pair[:-7]}-learned-{fingerprint.of_json([model.fingerprint, bare.to_dict()])[:6]}"
    if name in own_ids():
        return name

    def write(made: Path) -> dict[str, Any]:
        for path in (home / pair).iterdir():
            if path.name not in ("card.json", "weights.safetensors"):
                shutil.copyfile(path, made / path.name)
        save_file(tensors, made / "weights.safetensors")
        card = read_card(pair)
        card["title"] = f"{card['title'][: LONGEST - 9]}, learned"
        card["weights"] = {
            "file": "weights.safetensors",
            "fingerprint": fingerprint.of_file(made / "weights.safetensors"),
        }
        card["transferred"] = {**card.get("transferred", {}), "pair": pair, "learned": bare.to_dict()}
        card["checks"] = [*card["checks"], asdict(Check("Learned", None, f"{bare.notation}, on the fit split"))]
        return card

    keep_whole(home, name, write)
    return name
