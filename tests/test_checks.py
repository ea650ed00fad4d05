"""Do a model and its data belong together? The two likeliest mistakes are found, and said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import ROOT
from hostile_models import program, saved
from torch import nn

from core.checks import Check, checks, choose
from core.data.handle import Preprocessing
from core.data.intake import Examples
from core.errors import TemperError
from core.models.intake import Incoming, ModelWish, read_model

N = 300
CENTRES = np.array([[0.2, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.8]], np.float32)
ROTATED = (1, 2, 3, 0)


def examples(seed: int = 0) -> Examples:
    """Pictures of 8-bit values whose two halves tell four classes apart."""
    generator = np.random.default_rng(seed)
    y = np.arange(N) % 4
    halves = CENTRES[y] + generator.normal(size=(N, 2)) * 0.08
    x = np.repeat(halves[:, :, None], 8, 2)[:, :, None, :].repeat(4, 2).reshape(N, 8, 8)
    return Examples((x.clip(0, 1) * 255).astype(np.uint8), y.astype(np.int64), tuple("abcd"), "pictures", False)


class Nearest(nn.Module):
    """The class whose centre is nearest, for values as `mean` and `deviation` make them, its outputs in an order."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        centres = torch.from_numpy(CENTRES[list(order)] - mean) / deviation
        self.linear = nn.Linear(2, 4)
        self.linear.weight.data = 20 * deviation * centres
        self.linear.bias.data = -10 * deviation * (centres**2).sum(1)

    def forward(self, x):
        return self.linear(x.reshape(x.shape[0], 2, 32).mean(2))


def read(module: nn.Module, folder) -> Incoming:
    return read_model(str(program(folder / "m.pt2", module.eval(), torch.randn(2, 1, 8, 8))), ModelWish())


def judged(model: Incoming, found: Examples, asked: str | None = None, published: Preprocessing | None = None):
    chosen = choose(model, found.x, found.y, found, published, asked)
    return chosen, {check.title: check for check in checks(model, found.x, found.y, found, chosen)}


@pytest.mark.parametrize(("module", "name"), [(Nearest(), "unit"), (Nearest(0.5, 0.5), "signed")])
def test_the_normalisation_is_found_by_trying(module, name, tmp_path):
    chosen, said = judged(read(module, tmp_path), examples())
    tried = dict(chosen.tried)
    assert tried[name] > 0.95 and tried[chosen.name] >= tried[name] - 0.05
    assert said["Belong together"].ok and all(check.ok is not False for check in said.values())


def test_a_wrong_normalisation_is_found_and_said(tmp_path):
    """Published scaling is kept even where it does badly: it is what the weights were trained with, so it is said."""
    model, published = read(Nearest(), tmp_path), Preprocessing(255.0, (5.0,), (0.001,))
    chosen, said = judged(model, examples(), published=published)
    assert chosen.name == "published"
    check = said["Belong together"]
    assert check.ok is False and "near chance" in check.said
    assert "normalisation 'unit' would give 9" in check.said or "normalisation 'unit' would give 100" in check.said


def test_a_permuted_class_order_is_found_and_said(tmp_path):
    _, said = judged(read(Nearest(order=ROTATED), tmp_path), examples(), asked="unit")
    check = said["Belong together"]
    assert check.ok is False and "classes in another order would give" in check.said
    assert "(a as b, b as c)" in check.said


def test_near_chance_without_a_cause(tmp_path):
    found = examples()
    shuffled = np.random.default_rng(1).permutation(found.y)
    mixed = Examples(found.x, shuffled, found.classes, "pictures", False)
    _, said = judged(read(Nearest(), tmp_path), mixed)
    assert said["Belong together"].ok is False
    assert "neither another normalisation nor another class order does better" in said["Belong together"].said


def test_few_examples_of_a_class_are_said(tmp_path):
    found = examples()
    keep = (found.y != 3) | (np.arange(N) < 40)
    _, said = judged(
        read(Nearest(), tmp_path), Examples(found.x[keep], found.y[keep], found.classes, "pictures", False)
    )
    assert said["Balance"].ok is False and "the rarest class, d, has 10 of" in said["Balance"].said


def test_what_a_normalisation_may_be(tmp_path):
    model, found = read(Nearest(), tmp_path), examples()
    assert choose(model, found.x, found.y, found, None, "0.5;0.25").preprocessing == Preprocessing(
        255.0, (0.5,), (0.25,)
    )
    for asked in ("nonsense", "0.5", "0.5;0", "0.5,0.5;1,1", "a;b", "0.5;1;2", ""):
        with pytest.raises(TemperError, match="A normalisation is one of"):
            choose(model, found.x, found.y, found, None, asked)


class Together(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(64, 4)

    def forward(self, x):
        x = x.flatten(1)
        return self.linear(x - x.mean(0, keepdim=True))


def test_a_network_whose_outcome_depends_on_its_neighbours(tmp_path):
    _, said = judged(read(Together(), tmp_path), examples())
    assert said["Repeatable"] == Check(
        "Repeatable", False, "an example's logits depend on its neighbours in the batch"
    )
    _, said = judged(read(Nearest(), tmp_path), examples())
    assert said["Repeatable"].ok is True


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return torch.dropout(self.linear(x), 0.5, True)


def test_dropout_left_on_is_refused(tmp_path):
    with pytest.raises(TemperError, match=r"training mode|switched on") as caught:
        read_model(str(program(tmp_path / "m.pt2", Noisy().eval(), torch.randn(2, 6))), ModelWish())
    assert "model.eval()" in caught.value.hint
    torch.onnx.export(Noisy(), (torch.randn(2, 6),), str(tmp_path / "m.onnx"), dynamo=False, input_names=["x"],
                      training=torch.onnx.TrainingMode.PRESERVE, dynamic_axes={"x": {0: "n"}})  # fmt: skip
    with pytest.raises(TemperError, match="switched on"):
        read_model(str(tmp_path / "m.onnx"), ModelWish())


def test_logits_that_are_not_finite_on_the_data(tmp_path):
    module = Nearest()
    module.linear.weight.data *= 1e36
    found = examples()
    with pytest.raises(TemperError, match=r"NaN or infinite logits for 300 of 300|gives NaN or infinite"):
        model = read(module, tmp_path)
        checks(model, found.x, found.y, found, choose(model, found.x, found.y, found, None, "0;1e-9"))


def test_weights_with_nan_are_refused(tmp_path):
    state = torch.nn.Linear(6, 3).state_dict()
    state["weight"][0, 0] = torch.nan
    with pytest.raises(TemperError, match="NaN"):
        read_model(str(saved(tmp_path / "m.pt", {f"fc.{k}": v for k, v in state.items()})), ModelWish())


def test_the_command_line_says_what_was_checked(tmp_path, capsys, monkeypatch):
    from core.cli import main

    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    model = program(tmp_path / "m.pt2", Nearest(order=ROTATED).eval(), torch.randn(2, 1, 8, 8))
    found = examples()
    np.savez(tmp_path / "d.npz", x=found.x, y=found.y)
    arguments = ["load", "--model", str(model), "--data", str(tmp_path / "d.npz"), "--normalise", "unit"]
    main(arguments)
    said = capsys.readouterr().out
    assert "LOOK Belong together" in said and "another order" in said and "ok   Same as the original" in said
    assert (ROOT / "core").is_dir()
