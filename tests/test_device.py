"""Where learning runs: chosen, said, and all of it there, so that nothing of a training is left on the processor."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from conftest import prune, quantize
from elsewhere import ELSEWHERE, elsewhere
from learning import COMPRESSED, forgetful, report, same, trained, training
from onnx import TensorProto, helper, numpy_helper

from core.data.handle import split_for_fitting
from core.engine.context import Context
from core.engine.grid import fake_quantize
from core.engine.transform import transform
from core.errors import TemperError
from core.models.samples import load_sample
from core.models.torch_graph import GraphModule
from core.recipe import Recipe
from core.registry import method
from core.trainers import _training
from core.trainers._training import everything
from core.training import device as devices
from core.training import examples as given
from core.training import pace, rate_range
from core.training.device import CPU, computing, device, out_of_memory, title
from core.training.learner import Learner
from core.training.pace import Paced
from core.training.permit import Permit, StoppedEarly, permitted
from core.training.rate_range import find_rate
from core.training.teachers import _reader

CUDA = torch.device("cuda", 0)
FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)
SPARSE = (prune(0.6), quantize(4, 8))
TABLE = {
    "recovered": (*SPARSE, training("recover")),
    "recovered, larger than the device takes": (*SPARSE, training("recover")),
    "a zero point a channel": (*COMPRESSED["W3A8 sparse affine"], training("recover")),
    "groups": (*COMPRESSED["W4 groups"], training("recover")),
    "16 bits": (*COMPRESSED["W8A16"], training("recover")),
    "levels": (*COMPRESSED["nf4"], training("recover")),
    "adapters": (*COMPRESSED["W8A8 dynamic"], training("fine-tune", layers="adapters")),
    "trees teach": (*SPARSE, training("distil", epochs=1.0)),
    "gradually, by SGD": (training("fine-tune", layers="gradual", start="scratch", optimiser="sgd", loss="focal"),),
    "the best, drawn anew": (training("fine-tune", start="scratch", keep="best", augment="light"),),
}
SOME = {"epochs": 2.0, "examples": 40, "batch": 16}
OTHERS = {
    "convolutions": ("fashion-small", (*SPARSE, training("recover", **SOME))),
    "batch-norm": ("fashion-small", (training("fine-tune", augment="light", **SOME),)),
    "a network teaches": ("fashion-small", (training("distil", teacher="fashion-resnet", **SOME),)),
    "numbers": ("diamonds", (quantize(8, 8), training("recover", **SOME))),
    "texts": ("spam-mail", (training("fine-tune", **SOME),)),
}


@pytest.fixture(scope="module", autouse=True)
def one_core():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_THREADS", "1")
        patch.delenv(devices.NAME, raising=False)
        yield


@pytest.fixture(scope="module")
def pair():
    return load_sample("breast-cancer")


@pytest.fixture
def cuda(monkeypatch):
    """Two graphics processors, as far as PyTorch tells, on which sums come out right."""
    ones = torch.ones
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: f"Made {where}")
    monkeypatch.setattr(torch, "ones", lambda *size, device=None: ones(*size))


def asked(monkeypatch, value):
    monkeypatch.setenv(devices.NAME, value)
    return device()


def test_the_processor_where_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device() == asked(monkeypatch, "auto") == asked(monkeypatch, "cpu") == asked(monkeypatch, "") == CPU
    with pytest.raises(TemperError, match=r"'cuda', which cannot be used here: (this PyT|PyT)") as found:
        asked(monkeypatch, "cuda")
    assert "'cpu'" in found.value.hint
    assert title(CPU) == "CPU, 1 core"


def test_a_graphics_processor_that_works_is_taken(cuda, monkeypatch):
    assert device() == asked(monkeypatch, "auto") == asked(monkeypatch, "CUDA ") == CUDA
    assert asked(monkeypatch, "cuda:1") == torch.device("cuda", 1)
    assert asked(monkeypatch, "cpu") == CPU
    assert title(CUDA) == "Made cuda:0"
    with pytest.raises(TemperError, match=r"asks for 'cuda:2'.*: the last of the 2 there are is 'cuda:1'"):
        asked(monkeypatch, "cuda:2")


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:-1", "cuda:x", "1", "mps", "cuda:0,1"])
def test_a_wrong_name_is_told(value, cuda, monkeypatch):
    with pytest.raises(TemperError, match="one of 'auto', 'cpu', 'cuda'") as found:
        asked(monkeypatch, value)
    assert repr(value) in found.value.message


@pytest.mark.parametrize("how", ["fails", "lies"])
def test_a_graphics_processor_that_does_not_work_is_not_taken(how, cuda, monkeypatch):
    def ones(*size, device=None):
        if how == "fails":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return torch.zeros(*size)

    monkeypatch.setattr(torch, "ones", ones)
    assert device() == CPU
    with pytest.raises(TemperError, match="no kernel image is available\\)" if how == "fails" else "came to 0"):
        asked(monkeypatch, "cuda")


def settings():
    cudnn, debug = torch.backends.cudnn, torch.utils.deterministic
    return (
        torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark,
        torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, debug.fill_uninitialized_memory,
    )  # fmt: skip


def test_cuda_computes_the_same_twice_and_only_while_it_trains(monkeypatch):
    monkeypatch.setenv(devices.WORKSPACE, "")
    monkeypatch.delenv(devices.WORKSPACE)
    before = settings()
    with pytest.raises(KeyError), computing(CUDA):
        inside = settings()
        raise KeyError
    assert inside == (True, True, False, "ieee", "ieee", False) and settings() == before != inside
    with computing(CPU):
        assert settings() == before


@pytest.mark.parametrize("case", TABLE)
def test_a_training_is_elsewhere_what_it_is_here(case, pair, tmp_path, monkeypatch):
    if "larger" in case:
        monkeypatch.setattr(given, "RESIDENT", 0)
    compare(pair, TABLE[case], tmp_path, monkeypatch)


@pytest.mark.parametrize("case", OTHERS)
def test_other_networks_are_so_too(case, tmp_path, monkeypatch):
    name, steps = OTHERS[case]
    compare(load_sample(name), steps, tmp_path, monkeypatch)


def compare(pair, steps, tmp_path, monkeypatch):
    before = transform(*pair, Recipe(steps[:-1]))[0]

    def learned(folder, permit=None):
        monkeypatch.setenv("TEMPER_HOME", str(tmp_path / folder))
        with permitted(permit):
            return method("train", steps[-1].method).function(before, steps[-1].values, Context(pair[1], 0))

    here, said = learned("here")
    with away(monkeypatch):
        there, told = learned("there")
    assert (said["where"], told["where"]) == ("CPU, 1 core", "meta") and said["loss"] == told["loss"]
    assert same(here, there) and not same(here, before)
    assert all(type(one) is torch.Tensor and one.device == CPU for one in there.tensors.values())
    assert same(here, learned("there", Permit(told=never))[0])  # found again, here


@contextmanager
def away(monkeypatch):
    with monkeypatch.context() as inside, elsewhere():
        inside.setattr(_training, "device", lambda: ELSEWHERE)
        yield


def never(_):
    raise AssertionError("it was learned again")


@pytest.mark.parametrize("left", ["_masks", "_grids", "_steps", "leaves"])
def test_a_tensor_left_behind_is_noticed(left, pair):
    """What the tests above rest on."""
    network = transform(*pair, Recipe(SPARSE))[0]
    x = torch.from_numpy(split_for_fitting(pair[1], "fit").inputs[:8].copy())
    with elsewhere():
        near, far = (Learner(network, everything(network), True, where=where) for where in (CPU, ELSEWHERE))
        far(x.to(ELSEWHERE))
        assert far.leaves.keys() == near.leaves.keys() and far._masks and far._grids and far._steps
        with pytest.raises(RuntimeError, match="same device"):
            far(x)
        setattr(far, left, getattr(near, left))
        far._mine.update(near.leaves if left == "leaves" else {})
        far.points = dict(far._steps)
        with pytest.raises(RuntimeError, match="same device"):
            far(x.to(ELSEWHERE))


def test_what_is_learned_elsewhere_lies_on_its_grids(pair, tmp_path, monkeypatch):
    with forgetful(monkeypatch, tmp_path), away(monkeypatch):
        found = trained(pair, *SPARSE, training("recover"))
    for name, grid in found.grids.items():
        assert torch.equal(fake_quantize(found.tensors[name], grid), found.tensors[name])


def test_a_training_goes_on_elsewhere(pair, tmp_path, monkeypatch):
    """Begun here and stopped, ended there: as if it had never moved, with both places told."""
    steps = (*SPARSE, training("recover", epochs=4.0, augment="light"))
    with forgetful(monkeypatch, tmp_path / "whole"):
        whole = trained(pair, *steps)
    with forgetful(monkeypatch, tmp_path / "moved"):
        with pytest.raises(StoppedEarly):
            trained(pair, *steps, permit=Permit(leave=lambda: True))
        with away(monkeypatch):
            moved = trained(pair, *steps)
            said = report(pair, Recipe(steps))
    assert same(whole, moved)
    assert said["where"] == "CPU, 1 core, then meta"


def test_rates_and_times_are_found_elsewhere(pair, tmp_path, monkeypatch):
    asked = Recipe((*SPARSE, training("recover")))
    waited = []
    monkeypatch.setattr(pace, "LONGEST", 0.1)
    monkeypatch.setattr(rate_range, "STEPS", 20)
    monkeypatch.setattr(pace, "settled", waited.append)
    with forgetful(monkeypatch, tmp_path):
        here = find_rate(*pair, asked)
        with away(monkeypatch):
            assert find_rate(*pair, asked) == here
            with pytest.raises(Paced) as found:
                trained(pair, *asked.steps, permit=Permit(seconds=1.0))
    assert found.value.epochs > 0 and len(waited) > 3 and set(waited) == {ELSEWHERE}


@pytest.mark.parametrize("error", FULL, ids=["torch", "cuBLAS"])
def test_when_memory_runs_out_the_last_good_state_is_kept(error, pair, tmp_path, monkeypatch):
    steps = (training("fine-tune", epochs=5.0, batch=64),)
    forward, calls, limit = Learner.forward, [], [10]

    def narrow(self, x):
        calls.append(self.training)
        if sum(calls) > limit[0]:
            raise error
        return forward(self, x)

    monkeypatch.setattr(Learner, "forward", narrow)
    with forgetful(monkeypatch, tmp_path):
        with pytest.raises(StoppedEarly) as found:
            trained(pair, *steps)
        assert found.value.until == 0.5 and "step 10 is kept" in found.value.note
        assert found.value.note.startswith("The memory of CPU, 1 core was too small for this training")
        limit[0] = 1_000
        part = trained(pair, training("fine-tune", epochs=5.0, batch=64, until=0.5))
    with forgetful(monkeypatch, tmp_path / "unbroken"):
        assert same(part, trained(pair, training("fine-tune", epochs=5.0, batch=64, until=0.5)))
        limit[0] = sum(calls)
        with pytest.raises(TemperError, match=r"too small for this training: nothing was learned\.") as nothing:
            trained(pair, *steps)
        assert "smaller batch" in nothing.value.hint


def test_other_faults_are_no_lack_of_memory(pair, tmp_path, monkeypatch):
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))

    def broken(self, x):
        raise RuntimeError("a fault")

    monkeypatch.setattr(Learner, "forward", broken)
    with forgetful(monkeypatch, tmp_path), pytest.raises(RuntimeError, match="a fault"):
        trained(pair, training("fine-tune"))


def test_no_graphics_processor_is_looked_for_where_nothing_is_learned(pair, tmp_path, monkeypatch):
    """Pages find what was trained, and never begin to use CUDA for it."""
    steps = (training("fine-tune"),)
    with forgetful(monkeypatch, tmp_path):
        found = trained(pair, *steps)
    monkeypatch.setattr(_training, "device", never)
    with forgetful(monkeypatch, tmp_path):
        assert same(found, transform(*pair, Recipe(steps))[0])


def test_where_it_learned_is_kept_and_told(pair, tmp_path, monkeypatch):
    with forgetful(monkeypatch, tmp_path):
        assert report(pair, Recipe((training("fine-tune"),)))["where"] == "CPU, 1 core"
        (facts,) = (tmp_path / "trained").glob("*/trained.json")
    plain = json.loads(facts.read_text("utf-8"))
    assert plain.pop("where") == "CPU, 1 core"
    facts.write_text(json.dumps(plain), "utf-8")  # as trainings were kept before they told
    with forgetful(monkeypatch, tmp_path):
        assert report(pair, Recipe((training("fine-tune"),)))["where"] == ""


def test_what_a_teacher_reads_is_made_where_its_student_reads(pair):
    own = pair[1]
    other = replace(own, preprocessing=replace(own.preprocessing, scale=2 * own.preprocessing.scale))
    x = torch.from_numpy(split_for_fitting(own, "fit").inputs[:8].copy())
    with elsewhere():
        assert torch.equal(_reader(own, other)(x.to(ELSEWHERE)).to(CPU), _reader(own, other)(x))


def test_what_a_graph_makes_of_nothing_lies_where_its_input_does():
    nodes = [
        helper.make_node("Shape", ["input"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["halves"],
                         value=numpy_helper.from_array(np.array([0.5], np.float32))),
        helper.make_node("Mul", ["input", "halves"], ["output"]),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("input", "output")]
    graph: onnx.GraphProto = helper.make_graph(nodes, "made", ends[:1], ends[1:])
    module = GraphModule(helper.make_model(graph))
    x = torch.arange(6.0).reshape(2, 3)
    with elsewhere():
        assert torch.equal(module(x.to(ELSEWHERE)).to(CPU), x / 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
@pytest.mark.parametrize("name", ["breast-cancer", "fashion-small"])
def test_cuda_learns_what_the_processor_does(name, tmp_path, monkeypatch):
    """A few steps: within the rounding of float32 sums, the same twice, and read back on either."""
    pair = load_sample(name)
    steps = (prune(0.6), training("recover", epochs=2.0, examples=64, batch=32, rate=1e-3))
    found = {}
    for place, where in (("here", "cpu"), ("there", "cuda"), ("again", "cuda")):
        monkeypatch.setenv(devices.NAME, where)
        with forgetful(monkeypatch, tmp_path / place):
            found[place] = trained(pair, *steps)
            told = report(pair, Recipe(steps))["where"]
            assert told == title(CUDA) if where == "cuda" else told.startswith("CPU")
    assert same(found["there"], found["again"])
    for tensor_name, tensor in found["here"].tensors.items():
        other = found["there"].tensors[tensor_name]
        assert other.device == CPU
        assert torch.allclose(tensor, other, rtol=1e-3, atol=1e-4 * float(tensor.abs().max() or 1)), tensor_name
