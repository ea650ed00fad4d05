"""Well-known networks all the way: in as a file, tempered, out in every format with the check passed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe
from safetensors.torch import save_file

from core import torchvision_pair
from core.deploy.check import offered, parts_of, ship
from core.engine.evaluate import evaluate
from core.intake import bring
from core.models.samples import load_sample
from core.recipe import Step
from core.wish import Wish

torchvision_pair.ensure()
SIDE = 64
RECIPES = {
    "W8A8 temperature": recipe(quantize(8, 8), Step.of("calibrate", "temperature")),
    "sparse W4": recipe(prune(0.5), quantize(4, 32)),
}


def network(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    from torchvision import models

    torch.manual_seed(0)
    if name == "mlp":
        return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval(), (12,)
    if name == "vit":
        made = models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10).eval()
        torch.nn.init.normal_(made.heads.head.weight, std=0.5)  # torchvision starts it at zero
        return made, (3, 32, 32)
    return models.get_model(name, num_classes=10).eval(), (3, SIDE, SIDE)


@pytest.fixture(scope="module", params=["mlp", "resnet18", "mobilenet_v2", "vit"])
def brought(request, tmp_path_factory):
    """The id of the network brought in: state dicts where the architecture is listed, exported programs otherwise."""
    folder = tmp_path_factory.mktemp(request.param)
    module, shape = network(request.param)
    if request.param == "vit":
        path = folder / "model.pt2"
        example = (torch.zeros(2, *shape),)
        program = torch.export.export(module, example, dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, path)
    else:
        path = folder / "model.safetensors"
        save_file(module.state_dict(), path)
    random = np.random.default_rng(0)
    if len(shape) == 1:
        np.savez(folder / "data.npz", x=random.standard_normal((60, *shape)).astype(np.float32), y=np.arange(60) % 3)
    else:
        pictures = random.integers(0, 256, (60, *shape[1:], 3), dtype=np.uint8)
        np.savez(folder / "data.npz", x=pictures, y=np.arange(60) % 10)
    wish = Wish(str(path), str(folder / "data.npz"), input_shape=shape, title=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_HOME", str(folder))
        yield bring(wish, folder / "models", lambda _done, _what: None)


@pytest.mark.parametrize("title", RECIPES)
def test_every_format_takes_it_out_again(brought, title):
    model, data = load_sample(brought)
    chosen = RECIPES[title]
    assert model.own
    assert np.isfinite(evaluate(model, data, chosen).tempered.probabilities).all()
    done = set()
    for form, why in offered(parts_of(model, data, chosen)):
        if why:
            assert (form.name, title) == ("onnx-float", "W8A8 temperature")
            continue
        checked = ship(model, data, chosen, form.name).checked
        assert checked.verified, checked
        done.add(form.name)
    assert {"onnx", "packed", "pt2"} <= done
