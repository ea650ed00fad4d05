"""One path through core for all tasks: samples of kinds never there before, added by a card alone, go all the way."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, prune, quantize, recipe
from seventh import MADE, SIZES, build, inputs_of
from streamlit.testing.v1 import AppTest
from sweeping import Here, plan_of

from core import runs
from core.damage.groups import by_group
from core.data.handle import load_split
from core.deploy.check import declaration, offered, parts_of, ship
from core.deploy.usage import usage
from core.engine.compare import compare
from core.engine.evaluate import estimate_point, evaluate
from core.engine.memory import RESULTS
from core.layers.sensitivity import sensitivity
from core.models.samples import load_sample, sample_ids
from core.recipe import Recipe, Step
from core.registry import method, methods
from core.report import report
from core.sweeps.front import front
from core.sweeps.sweep import Sweep
from core.task import LEVEL, LEVELS
from ui import export

FEW = 6  # examples that the printed lines are run on


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The trained networks by name, their folders where `TEMPER_SAMPLES` says."""
    folder = tmp_path_factory.mktemp("samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_SAMPLES", str(folder))
        RESULTS.clear()
        yield {name: build(name, folder) for name in MADE}
    RESULTS.clear()


@pytest.fixture(params=MADE)
def added(request, networks):
    return load_sample(request.param)


def tempered_by(data) -> Recipe:
    """Pruned, quantized and, by the first method that suits the task, calibrated."""
    return recipe(prune(0.3), quantize(8, 8), Step.of("calibrate", methods("calibrate", data.task.kind)[0].name))


def test_they_are_listed_beside_nothing_else(networks):
    assert set(sample_ids()) == set(MADE)


def test_it_is_evaluated_and_compared(added, networks):
    model, data = added
    found = evaluate(model, data, tempered_by(data))
    made = MADE[model.id]
    arrays = load_split(data, "evaluation")
    x = inputs_of(made, arrays.x, model.weights.parent)
    with torch.inference_mode():
        wanted = networks[model.id](x).numpy()
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found.original.logits, wanted, atol=1e-5 * scale)  # float32 sums in another order
    assert found.bytes.packed < 0.6 * found.original_bytes.packed
    said = compare(found)
    lead = method("metric", data.task.facts.headline).function
    constant = np.full_like(arrays.y, round(float(arrays.y.mean()))) if data.task.decides else arrays.y.mean()
    idle = (arrays.y == constant).mean() if data.task.decides else arrays.y.std()
    assert (said.original[data.task.facts.headline].value > idle) == lead.higher_is_better, "it has learnt something"
    for name in data.task.facts.stated:
        assert said.tempered[name].value == method("metric", name).function.of(found.tempered)
        for quantity in (said.original[name], said.tempered[name], said.change[name]):
            low, high = quantity.interval.low, quantity.interval.high
            assert np.isfinite([low, high]).all() and low <= quantity.value <= high, name
    if not data.task.decides:
        assert {q.unit for q in (said.tempered["rmse"], said.change["mae"])} == {data.task.unit}


def test_it_is_estimated_on_the_way(added):
    model, data = added
    looks, of = [], recipe(prune(0.45), quantize(8, 8))
    measured = compare(evaluate(model, data, of, look=looks.append)).tempered
    lead = data.task.facts.headline
    known, found = estimate_point(model, data, of, 300)
    whole = looks.pop()  # the second look sees all of so small a set
    assert looks and whole.n == known.original.n == SIZES["evaluation"]
    for one in (*looks, found):
        told = one.values[lead]
        assert one.n < whole.n
        assert told.how == "estimated" and told.interval.low < told.value < told.interval.high
        apart = abs(told.value - measured[lead].value)  # of 95 % intervals: twice as far would be one in 10,000
        assert apart <= 2 * max(told.interval.high - told.value, told.value - told.interval.low)
        assert (one.flips is not None) == data.task.decides
    for name, told in whole.values.items():
        assert told.how == "measured" and told.value == pytest.approx(measured[name].value, abs=1e-9), name


def test_its_groups_are_told_apart(added):
    model, data = added
    found = evaluate(model, data, tempered_by(data))
    lead = data.task.facts.headline
    for column in data.groups:
        told = by_group(data, found, column.title, lead)
        of = load_split(data, "evaluation").groups[column.title]
        assert [g.name for g in told.groups] == list(column.names)
        assert [g.n for g in told.groups] == [(of == k).sum() for k in range(len(column.names))]
        assert sum(g.n for g in told.groups) == told.every.n == SIZES["evaluation"]
    assert [column.title for column in data.groups] == list(MADE[model.id].data.get("groups", ()))


def test_its_layers_are_judged_one_by_one(added):
    model, data = added
    found = sensitivity(model, data, (3,))
    assert len(found.effects) >= 2 and (found.effects[0].flips is not None) == data.task.decides
    assert any(change.value for effect in found.effects for change in effect.changes.values())


def test_a_grid_is_swept(added):
    model, data = added
    lead = data.task.facts.headline
    done = Sweep(model, data, plan_of("sparsity=0,0.6", "weight_bits=3,8"), exact=True)
    done.run(Here())
    assert done.standing().state == "done" and len(done.spots) == 4
    for spot in done.spots.values():
        assert spot.exact, spot.error
        after = evaluate(model, data, spot.recipe).tempered
        assert spot.values[lead].value == pytest.approx(method("metric", lead).function.of(after), abs=1e-5)
    assert front(list(done.spots.values()), lead).members


def recipes(data) -> tuple[Recipe, Recipe]:
    """One for integer kernels, and one that rounds weights alone, so that every format can take it."""
    of = tempered_by(data)
    return of, recipe(prune(0.3), quantize(6, 32), *of.steps[2:])


def test_it_leaves_in_every_format(added):
    model, data = added
    done = []
    for of in recipes(data):
        for form, why in offered(parts_of(model, data, of)):
            if why:
                continue
            made = ship(model, data, of, form.name)
            assert made.checked.verified, made.checked
            assert made.checked.agree == made.checked.n == SIZES["evaluation"]
            assert made.file.endswith(declaration(form).ending)
            apart = export._apart(made.checked, data.task).split(" ", 1)
            factor, unit = (100, "points") if data.task.decides else (1, "standard deviations")
            assert apart[1] == unit and float(apart[0]) == pytest.approx(
                factor * max(made.checked.largest, 1e-6), 0.06
            )
            done.append(form.name)
    every = [form.name for form in methods("format")]
    assert sorted(done) == sorted([*every, *(name for name in every if name != "onnx-float")])


def test_the_printed_lines_predict_elsewhere(networks, tmp_path):
    folders = []
    for name in networks:
        model, data = load_sample(name)
        x = load_split(data, "evaluation").x[:FEW]
        for of in recipes(data):
            parts = parts_of(model, data, of)
            for form in (form for form, why in offered(parts) if not why and form.name != "packed"):
                made, folder = ship(model, data, of, form.name), tmp_path / f"{len(folders)}"
                folder.mkdir()
                (folder / made.file).write_bytes(made.content)
                (folder / "use.py").write_text(usage(form.name, made.file, parts), encoding="utf-8")
                if data.modality == "text":
                    (folder / "texts.txt").write_text("\n".join(x) + "\n", encoding="utf-8")
                    (folder / "tokenizer.json").write_bytes(data.preprocessing.content())
                else:
                    np.save(folder / "x.npy", x)
                folders.append((folder, data, evaluate(model, data, of).tempered))
    assert len(folders) == 5 * len(networks)
    # One process for all of them: importing PyTorch takes longest.
    run_all = (
        "import os, runpy, sys\nfor folder in sys.argv[1:]:\n    os.chdir(folder)\n    print('#', flush=True)\n"
        "    runpy.run_path('use.py')\n"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TEMPER", "PYTHONPATH"))}
    told = subprocess.run(
        [sys.executable, "-c", run_all, *(str(folder) for folder, _, _ in folders)],
        cwd=tmp_path, env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2_000:]
    for said, (_, data, screen) in zip(told.stdout.split("#\n")[1:], folders, strict=True):
        assert_same(said.strip().splitlines(), data, screen)


def assert_same(lines, data, screen) -> None:
    """What the lines print is what the screen shows of the first examples."""
    assert len(lines) == FEW
    if data.task.decides:
        found = [line.rsplit(" ", 1) for line in lines]
        assert [name for name, _ in found] == [data.classes[k] for k in screen.predictions[:FEW]]
        assert np.allclose([float(p) for _, p in found], screen.confidence[:FEW], atol=6e-4)
        return
    numbers = np.array([[float(n) for n in re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", line)] for line in lines])
    value, half = screen.values[:FEW], screen.predicted[:FEW, 1 + LEVELS.index(LEVEL)]
    wanted = np.stack([value, np.full(FEW, 100 * LEVEL), value - half, value + half], 1)
    assert np.allclose(numbers, wanted, atol=1e-4 * load_split(data, "evaluation").y.std())
    assert all(f" {data.task.unit}," in line for line in lines)


def test_it_is_reported_and_kept(added):
    model, data = added
    of = tempered_by(data)
    found = evaluate(model, data, of)
    said = compare(found)
    page = report(found, of, said, None, model, data)
    text = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page, flags=re.S)
    assert f"The {model.id}" in text and not re.search(r"\b(nan|inf|None)\b", text)
    assert "<i>back</i>" not in page
    runs.keep(found, of, said, None, model.title)
    runs.flush()
    kept = runs.get(runs.found(model=model.id)[0])
    assert kept.parsed() == of and kept.n == SIZES["evaluation"]
    again = kept.compared()
    for name in data.task.facts.stated:
        assert again.tempered[name].value == said.tempered[name].value
        assert again.change[name].interval == said.change[name].interval
        assert again.tempered[name].unit == said.tempered[name].unit
    assert (again.flips == said.flips) and again.significant == said.significant


def words(page: AppTest) -> str:
    text = " ".join(str(element.proto.body) for element in page.get("html"))
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.S)


def test_home_and_studio_draw_it(added):
    model, data = added
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    page.query_params["model"], page.query_params["recipe"] = model.id, tempered_by(data).to_link()
    page.run()
    assert not page.exception and not page.error
    for name in MADE:
        assert f"The {name}" in words(page), "each sample has its card"
    page.switch_page("pages/1_Studio.py").run()
    assert not page.exception and not page.error
    told = words(page)
    assert f"The {model.id} in" in told
    for name in data.task.facts.shown:
        assert method("metric", name).title in told
    assert not re.search(r"\b(nan|inf|none)\b", told, re.I)
    for column in data.groups[:1]:
        assert f"By {column.title}" in told
