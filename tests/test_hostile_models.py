"""Models from strangers: whatever a file holds, it is read rightly or refused in a sentence, and runs nothing."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import hostile_models as made
import numpy as np
import pytest
import torch
from damage import flipped, refusal
from hostile_data import bomb, pickled_call
from hostile_models import GEMM, VALID, F, Payload, declared, judged, network, saved, weights, with_json, written
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from core.errors import TemperError
from core.models.harm import is_arithmetic, is_plain_operator
from core.models.intake import ModelWish


def refused(path: Path | str, says: str = "", wish: ModelWish | None = None) -> TemperError:
    return refusal(judged(path, wish), says)


@pytest.mark.parametrize("kind", VALID)
def test_the_undamaged_file_is_read(kind, tmp_path):
    found = judged(VALID[kind](tmp_path))
    assert not isinstance(found, TemperError), found
    assert [layer.name for layer in found.graph.layers] == ["0", "2"]


@pytest.mark.parametrize("kind", VALID)
def test_cut_short_anywhere(kind, tmp_path):
    path = VALID[kind](tmp_path)
    whole = path.read_bytes()
    for twentieth in range(20):
        path.write_bytes(whole[: len(whole) * twentieth // 20])
        refused(path)


@pytest.mark.parametrize("kind", [kind for kind in VALID if kind != "onnx"])  # ONNX is parsed natively: see the fuzz
def test_flipped_bits(kind, tmp_path):
    path = VALID[kind](tmp_path)
    for broken in flipped(path.read_bytes(), 40):
        path.write_bytes(broken)
        judged(path)


# Pickles ----------------------------------------------------------------------------------------------------------


def test_the_payload_is_live(tmp_path, canary):
    torch.load(saved(tmp_path / "x.pt", Payload(canary)), weights_only=False)
    assert canary.exists(), "whoever opens these files without care does run them"


class Whole(nn.Module):
    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.PT"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickles_that_would_run_code(name, zipped, tmp_path, canary):
    whole = Whole()
    whole.canary = canary
    for value in (
        Payload(canary),
        {"weight": torch.ones(2, 2), "more": Payload(canary)},
        {"state_dict": {"w": torch.ones(2)}, "optimizer": [Payload(canary)]},
        whole,
        nn.Linear(3, 2),
    ):
        refused(saved(tmp_path / name, value, zipped), "more than tensors")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pt2", "model.safetensors", "model.onnx"])
def test_bare_pickles_are_never_opened(name, tmp_path, canary):
    for content in (pickled_call(canary), b"\x80\x04" + pickled_call(canary)):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)
    assert not canary.exists()


def test_a_pickle_inside_a_zip_that_calls_itself_otherwise(tmp_path, canary):
    for name in ("model.pt", "model.pt2"):
        for entry in ("model/data.pkl", "archive/data.pkl", "data.pkl", "model/models/model.json"):
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr(entry, pickled_call(canary))
                archive.writestr("archive/version", "3")
            refused(tmp_path / name)
    assert not canary.exists()


def test_torchscript_is_refused_with_lines_that_help(tmp_path):
    with torch.jit.optimized_execution(False):
        torch.jit.trace(made.mlp(), torch.randn(2, 6)).save(str(tmp_path / "model.pt"))
    hint = refused(tmp_path / "model.pt", "TorchScript").hint
    assert "torch.export.save" in hint and "save_file" in hint
    refused((tmp_path / "model.pt").rename(tmp_path / "model.pt2"))


# Exported programs ------------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path):
    return VALID["pt2"](tmp_path)


def config(path: Path, change) -> Path:
    return with_json(path, "model_weights_config.json", lambda given: change(given["config"]))


def test_weights_that_ask_for_a_pickle(program, canary):
    made.rewritten(
        program, lambda held: held.update({"archive/data/weights/weight_0": made.pickled(Payload(canary))})
    )
    refused(config(program, lambda weights: weights["0.weight"].update(use_pickle=True)), "pickle")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "data/weights/model.pt",  # the older layout, which PyTorch unpickles without being asked
        "data/constants/model.pt",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/sample_inputs/model.pt",
        "data/aotinductor/model/model.so",
        "data/weights/../../../canary",
        "extra/pickle.pkl",
        "serialized_state_dict.pt",
    ],
)
def test_entries_that_would_be_unpickled_or_run(name, program, canary):
    made.added(program, name, made.pickled(Payload(canary)))
    judged(program)
    assert not canary.exists()


def test_the_older_layout_would_have_run(program, canary):
    """Were such an entry passed on, PyTorch would run it: the test above can fail."""
    made.added(program, "data/weights/model.pt", made.pickled(Payload(canary)))
    with pytest.raises(Exception):  # noqa: B017 - whatever PyTorch says afterwards
        torch.export.load(str(program))
    assert canary.exists()


CODE = "__import__('os').system('touch {canary}')"


def graph(given: dict) -> dict:
    return given["graph_module"]["graph"]


def first_node(given: dict) -> dict:
    return graph(given)["nodes"][0]


def renamed(given, old: str, new: str):
    """The model's JSON with a name replaced wherever it stands."""
    if isinstance(given, dict):
        return {renamed(key, old, new): renamed(value, old, new) for key, value in given.items()}
    if isinstance(given, list):
        return [renamed(value, old, new) for value in given]
    return given.replace(old, new) if isinstance(given, str) else given


EDITS = {
    "expression": lambda given, code: graph(given)["tensor_values"]["input"]["sizes"].__setitem__(
        0, {"as_expr": {"expr_str": code, "hint": {"as_int": 2}}}
    ),
    "range": lambda given, code: given["range_constraints"].update({code: {"min_val": 0, "max_val": 9}}),
    "guards": lambda given, code: given.update(guards_code=[code]),
    "target": lambda given, code: first_node(given).update(target=code),
    "placeholder": lambda given, code: given.update(renamed(given, "input", f"x={code}")),
    "parameter": lambda given, code: given.update(renamed(given, "0.weight", f'0.a", {code}, "')),
    "argument": lambda given, code: given["graph_module"]["module_call_graph"][0]["signature"].update(
        forward_arg_names=[f"x={code}"]
    ),
    "keyword": lambda given, code: given["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "builtins.dict", "context": "[\\"x=CODE\\"]", "children_spec": []}]'.replace(
            "CODE", code.replace("'", "")
        )
    ),
    "tree": lambda given, code: given["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "os.system", "context": "null", "children_spec": []}]'
    ),
    "metadata": lambda given, code: first_node(given).update(
        metadata={"stack_trace": code, "nn_module_stack": f"a,{code},os.system", "torch_fn": code}
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EDITS)
def test_code_in_the_text_of_a_program(kind, program, canary):
    code = CODE.format(canary=canary)
    found = judged(with_json(program, "models/model.json", lambda given: EDITS[kind](given, code)))
    assert isinstance(found, TemperError) or kind in ("guards", "metadata"), "left out, the program is as it was"
    assert not canary.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.load", "torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "torch.ops.load_library",
        "torch.os.system", "torch.ops.aten.__class__.mro", "torch.utils.model_zoo.load_url", "_operator.attrgetter",
        "_operator.methodcaller", "_operator.__class__", "math.__loader__.load_module", "math.factorial", "#canary",
        "torch.ops.aten.linear", "torch.ops.aten._nested_view_from_buffer.default", "torch.hub.load", "os.system",
        "torch.ops.prim.Print.default", "torch.ops.aten.set_.source_Storage", "torch.ops.aten.linear.default.x",
    ],
)  # fmt: skip
def test_operators_that_are_none(target, program):
    refused(
        with_json(program, "models/model.json", lambda given: first_node(given).update(target=target)), "operator"
    )


def test_operators_of_networks_are_plain():
    for name in ("linear.default", "conv2d.default", "gelu.default", "scaled_dot_product_attention.default",
                 "batch_norm.default", "einsum.default", "_softmax.default", "pad.default", "view.default",
                 "upsample_bilinear2d.vec", "adaptive_avg_pool2d.default", "roll.default"):  # fmt: skip
        assert is_plain_operator(f"torch.ops.aten.{name}"), name
    assert is_plain_operator("_operator.mul") and is_plain_operator("torch.sym_max")


def test_sizes_are_arithmetic_of_a_bounded_size():
    assert is_arithmetic("Mul(Integer(17), Symbol('s77', positive=True, integer=True))")
    assert is_arithmetic("Min(Integer(32), FloorDiv(Symbol('s0', integer=True), Integer(2)))")
    assert is_arithmetic("Pow(Symbol('s0'), Integer(2))") and is_arithmetic("s0*2 + 1")
    for text in (
        "Pow(9, Pow(9, Pow(9, 9)))", "9**9**9", "Pow(Integer(9), Integer(99999999))", "Symbol('a b')", "(" * 500,
        "Pow(Pow(Pow(9, 4), 4), 4)", "s0.__class__", "[s0]", "s0 if s0 else s0", "lambda: 0", "print(1)", 1, None,
        "Symbol('s0', **{})", "f'{s0}'", "(s0 := 1)", "1 +\n 1; 2", "\0",
    ):  # fmt: skip
        assert not is_arithmetic(text), text


def test_programs_in_training_mode(tmp_path):
    for layers in ([nn.Linear(6, 3), nn.Dropout(0.5)], [nn.Linear(6, 3), nn.BatchNorm1d(3)]):
        module = nn.Sequential(*layers).train()
        refused(made.program(tmp_path / "model.pt2", module, torch.randn(3, 6)), "training mode")


def test_weights_of_a_program_that_claim_more_than_they_hold(program):
    def swell(weights):
        weights["0.weight"]["tensor_meta"]["sizes"] = [{"as_int": 10**6}, {"as_int": 10**6}]
        weights["0.weight"]["tensor_meta"]["strides"] = [{"as_int": 0}, {"as_int": 0}]

    refused(config(program, swell), "fewer values")
    made.added(program, "data/weights/weight_0", b"")
    refused(program, "empty")


def test_paths_out_of_the_archive(program):
    refused(config(program, lambda weights: weights["0.weight"].update(path_name="../../../../etc/passwd")), "folder")
    program = made.added(VALID["pt2"](program.parent), "../../evil", b"x")
    refused(program, "path")


# ONNX -------------------------------------------------------------------------------------------------------------


def outside(tensor: TensorProto, location: str) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


@pytest.mark.parametrize("location", ["../../../../etc/passwd", "/etc/passwd", "weights.bin", "model.onnx"])
def test_weights_in_other_files_are_not_opened(location, tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    proto = network([GEMM], weights())
    outside(proto.graph.initializer[0], location)
    refused(written(tmp_path / "model.onnx", proto), "another file")
    node = helper.make_node("Constant", [], ["w"], value=outside(declared("w", [3, 4]), location))
    proto = network([GEMM], {"b": weights()["b"]})
    proto.graph.node.insert(0, node)
    refused(written(tmp_path / "model.onnx", proto), "another file")
    attribute = AttributeProto(name="many", type=AttributeProto.TENSORS)
    attribute.tensors.append(outside(declared("w", [3, 4]), location))
    proto = network([GEMM], weights())
    proto.graph.node[0].attribute.append(attribute)
    refused(written(tmp_path / "model.onnx", proto), "another file")


def value(name: str, kind: int = F, shape=("n", 4)):
    return helper.make_tensor_value_info(name, kind, list(shape))


INNER = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "inner", [], [value("z")])
STRANGE = {
    "branch": (network([("Greater", ["x", "x"], ["c"]),
                        ("If", ["c"], ["y"], {"then_branch": INNER, "else_branch": INNER})]), "branches"),
    "foreign": (network([("Gelu", ["x"], ["y"], {"domain": "com.microsoft"})]), "com.microsoft"),
    "python": (network([("PyOp", ["x"], ["y"], {"domain": "ai.onnx.contrib"})]), "contrib"),
    "unknown": (network([("Nonsense", ["x"], ["y"])]), "Nonsense"),
    "quantized": (network([("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), ("Cast", ["q"], ["y"], {"to": 1})]),
                  "quantized already"),
    "two inputs": (network([GEMM], weights(), [value("x"), value("x2")]), "2 inputs"),
    "no input": (network([GEMM], weights(), []), "0 inputs"),
    "whole numbers": (network([GEMM], weights(), [value("x", TensorProto.INT64)]), "INT64"),
    "no output": (network([GEMM], weights(), None, []), "no output"),
    "no nodes": (network([], weights()), "no nodes"),
    "no axis of outputs": (network([("Gemm", ["x", "w", "b"], ["g"], {"transB": 1}),
                                    ("ReduceMean", ["g"], ["y"], {"axes": [1], "keepdims": 0})], weights()),
                           "values (N, 1)"),
    "no layer": (network([("Relu", ["x"], ["y"])], outputs=[value("y")]), "no convolution"),
    "cycle": (network([("Add", ["x", "b2"], ["a2"]), ("Add", ["a2", "x"], ["b2"]), GEMM], weights()), "valid"),
    "unsorted": (network([("Relu", ["h"], ["y"]), ("Gemm", ["x", "w", "b"], ["h"])], weights()), "valid"),
    "doubled": (network([GEMM, GEMM], weights()), "valid"),
    "old": (network([GEMM], weights(), opset=5), "version 5"),
    "new": (network([GEMM], weights(), opset=99), "version 99"),
    "wrong sizes": (network([GEMM], {**weights(), "w": np.ones((3, 9), "f4")}), ""),
    "nan": (network([GEMM], {**weights(), "b": np.full(3, np.nan, "f4")}), "NaN"),
    "inf": (network([GEMM], {**weights(), "w": np.full((3, 4), np.inf, "f4")}), "infinite"),
    "nan made": (network([("Log", ["x"], ["h"]), ("Gemm", ["h", "w", "b"], ["y"], {"transB": 1})], weights()), "NaN"),
    "noise": (network([("Gemm", ["x", "w", "b"], ["h"], {"transB": 1}), ("RandomNormalLike", ["h"], ["r"]),
                       ("Add", ["h", "r"], ["y"])], weights()), "switched on"),
    "open size": (network([("ReduceMean", ["x"], ["y"], {"axes": [2]})], {}, [value("x", F, ("n", 3, "w"))]), "open"),
    "huge input": (network([GEMM], weights(), [value("x", F, ("n", 10**9, 4))]), "the most"),
    "huge batch": (network([GEMM], weights(), [value("x", F, (10**12, 4))]), "the most"),
    "negative": (network([GEMM], weights(), [value("x", F, ("n", -4))]), "open"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_graphs_that_are_refused(kind, tmp_path):
    proto, says = STRANGE[kind]
    refused(written(tmp_path / "model.onnx", proto), says)


def test_functions_of_its_own(tmp_path):
    proto = network([GEMM], weights())
    nodes = [helper.make_node("Relu", ["a"], ["b"])]
    proto.functions.append(helper.make_function("own", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)]))
    refused(written(tmp_path / "model.onnx", proto), "functions")


@pytest.mark.parametrize("dims", [[10**9], [10**9, 10**9, 10**9], [2**62, 4], [-1, 4], [0]])
def test_tensors_that_claim_more_than_they_hold(dims, tmp_path):
    proto = network([GEMM], weights())
    proto.graph.initializer[0].CopyFrom(declared("w", dims))
    refused(written(tmp_path / "model.onnx", proto))


# Safetensors ------------------------------------------------------------------------------------------------------


def headed(path: Path, header: bytes, length: int | None = None, content: bytes = bytes(96)) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + content)
    return path


def test_headers_that_lie(tmp_path):
    path = tmp_path / "model.safetensors"
    good = (
        b'{"w":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"v":{"dtype":"F32","shape":[2,4],"data_offsets":'
    )
    for header, length in (
        (good + b"[32,64]}}", 2**63), (good + b"[32,64]}}", 2**40), (good + b"[32,64]}}", 3), (b"", 0), (b"[]", None),
        (good + b"[16,48]}}", None), (good + b"[64,32]}}", None), (good + b"[32,9999]}}", None), (b"\xff" * 40, None),
        (b'{"w":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,96]}}', None),
        (b'{"w":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,96]}}', None),
        (b'{"w":{"dtype":"OBJECT","shape":[24],"data_offsets":[0,96]}}', None), (b"[" * 100_000, None),
        (b'{"__metadata__":' + b'{"a":' * 5000, None),
    ):  # fmt: skip
        refused(headed(path, header, length))


def test_tensors_that_are_no_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    state = made.mlp().state_dict()
    for name, tensor, says in (
        ("0.weight", torch.full((8, 6), torch.nan), "NaN"),
        ("2.bias", torch.tensor([1.0, torch.inf, 0.0]), "infinite"),
        ("2.weight", torch.ones((3, 8), dtype=torch.int8), "int8"),
        ("0.weight", torch.zeros((8, 0)), "no values"),
        ("0.weight", torch.zeros((0, 6)), "no values"),
        ("2.weight", torch.zeros((3, 7)), ""),
        ("2.weight", torch.zeros((1, 8)), ""),
        ("2.weight", torch.tensor(1.0), ""),
    ):
        save_file({**state, name: tensor}, path)
        refused(path, says)
    save_file({"0.weight": torch.zeros(4, 6), "0.forward": torch.ones(3), "forward.weight": torch.ones(3, 4)}, path)
    refused(path, "no known architecture")
    save_file({"head.weight": torch.tensor(1.0), "body.0.weight": torch.tensor(1.0)}, path)
    refused(path)


def test_tensors_that_are_larger_than_the_file(tmp_path):
    """A view that repeats one value, a tensor without memory: both would take terabytes once written out."""
    for tensor in (
        torch.ones(1).expand(10**6, 10**6), torch.empty(10**6, 10**6, device="meta"),
        torch.sparse_coo_tensor([[0]], [1.0], (10**12,)), torch.ones(2, 2, dtype=torch.complex64),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    ):  # fmt: skip
        refused(saved(tmp_path / "model.pt", {"0.weight": tensor, "0.bias": torch.ones(2)}))


@pytest.mark.parametrize("family", ["residual-net", "tabular-mlp"])
def test_names_that_claim_a_huge_network(family, tmp_path):
    state = {"head.weight": torch.ones(10**6, 1)}
    state |= (
        {"stem.0.weight": torch.ones(10**6, 1), "blocks.0.conv1.weight": torch.ones(10**6)}
        if family == "residual-net"
        else {"body.0.weight": torch.ones(1, 10**6), "body.2.weight": torch.ones(10**6, 1)}
    )
    save_file(state, tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", "do not fit")


@pytest.mark.parametrize(
    "name", ["timm:hf-hub:evil/model", "timm:local-dir:/tmp", "torchvision:fasterrcnn_resnet50_fpn", "timm:../x",
             "torchvision:quantized_resnet18", "timm:", "torchvision:no_such"]
)  # fmt: skip
def test_names_that_lead_elsewhere(name, tmp_path):
    refused(name, "No architecture is called")
    refused(VALID["pt"](tmp_path), "No architecture is called", ModelWish(architecture=name))


# Files that are none ----------------------------------------------------------------------------------------------


def test_zip_bombs(tmp_path):
    for name, entry in (("model.pt", "model/data.pkl"), ("model.pth", "model/data/0")):
        refused(bomb(tmp_path / name, entry, 1 << 26), "unpacks")
    refused(bomb(tmp_path / "model.pt2", "model/models/model.json", 1 << 26), "explodes")
    refused(bomb(tmp_path / "model.pt2", "model/data/weights/weight_0", 1 << 26), "explodes")


def test_a_zip_that_claims_several_disks(tmp_path):
    path = VALID["pt"](tmp_path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\6\7") + 16] = 2  # the number of disks in the 64-bit end record's locator
    path.write_bytes(content)
    refused(path, "damaged")


def test_what_is_no_file(tmp_path):
    (tmp_path / "model.pt").mkdir()
    refused(tmp_path / "model.pt", "folder")
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    refused(tmp_path / "loop.pt", "no model file")
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "no model file")
    refused(tmp_path / "nothing.pt", "no model file")
    refused(tmp_path / ("a" * 300 + ".pt"), "cannot be opened")
    refused(tmp_path / "a\0b.pt")
    refused("")
    for name in ("model.txt", "model", "model.pkl", "model.h5", "model.zip"):
        (tmp_path / name).write_bytes(b"x")
        refused(tmp_path / name, "ends in")


@pytest.mark.parametrize("suffix", ["pt", "pth", "pt2", "onnx", "safetensors"])
def test_files_of_another_kind(suffix, tmp_path):
    path = tmp_path / f"other.{suffix}"
    path.touch()
    refused(path, "empty")
    for content in (
        b"\0",
        b"PK\3\4",
        b"PK\5\6" + bytes(18),
        b"hello" * 100,
        bytes(5000),
        os.urandom(5000),
        b"\x08\x07",
    ):
        path.write_bytes(content)
        refused(path)
    for kind, make in VALID.items():
        other = make(tmp_path)
        if not kind.startswith(suffix):
            other.replace(path)
            found = judged(path)
            assert isinstance(found, TemperError) or {kind, suffix} <= {"pt", "pth", "pth-legacy"}, kind
    path.write_bytes(b"")
    os.truncate(path, 300 << 20)
    refused(path)


def test_names_that_are_not_utf8(tmp_path):
    for suffix, make in VALID.items():
        whole = make(tmp_path).read_bytes()
        name = os.fsdecode(b"\xff\xfe\n" + b"." + suffix.partition("-")[0].encode())
        try:
            (tmp_path / name).write_bytes(whole)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        judged(tmp_path / name)
        (tmp_path / name).write_bytes(whole[:100])
        refused(tmp_path / name)


def test_names_of_tensors_that_are_long_or_strange(tmp_path):
    for name in ("x" * 5000, "\n\r\0", "\u202e\ud7ff", "{0}%s", "a.b." * 500, ""):
        save_file({name: torch.ones(3, 4)}, tmp_path / "model.safetensors")
        judged(tmp_path / "model.safetensors")
        constants = {"b": weights()["b"], name or "w": np.full((3, 4), np.nan, "f4")}
        nodes = [("Gemm", ["x", name or "w", "b"], ["y"], {"transB": 1})]
        judged(written(tmp_path / "model.onnx", network(nodes, constants)))


def test_an_array_of_numbers_is_kept_as_it_is():
    """The corpus itself: a tensor written honestly holds what it claims."""
    assert numpy_helper.to_array(declared("w", [1], np.float32(2).tobytes())) == 2
