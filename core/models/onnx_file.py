"""Read a float `.onnx` network: plain operators, one picture, row or text in, one vector of outputs out."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, version_converter

from core.data.archive import shown
from core.errors import TemperError
from core.models.sentences import reason

OLDEST, OPSET, NEWEST = 7, 17, 24
MOST = 2**31 - 1  # bytes: what one protocol buffer can hold
IDS = (TensorProto.INT64, TensorProto.INT32)
LOOPS = {"If", "Loop", "Scan", "SequenceMap"}
QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
}  # fmt: skip
SOFTMAX = "The file ends in a softmax; Temper reads the logits before it and applies its own."
OUTPUTS = "The file has several outputs; the first is read as the logits."
ONE = "Export it with a single input; a mask of padding can be made inside, such as (ids != 0)."
SINGLE = "onnx.save_model(onnx.load('model.onnx'), 'one.onnx', save_as_external_data=False)"


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model with its operators at version 17 or later. Raises `TemperError`."""
    name = shown(path.name)
    if path.stat().st_size > MOST:
        raise TemperError(f"{name} is larger than the 2 GiB that one ONNX file can hold.", "")
    try:
        proto = onnx.load_from_string(path.read_bytes())
    except (DecodeError, ValueError, OSError) as error:
        raise TemperError(f"{name} is no whole ONNX file.", "Export or copy it again.") from error
    proto.ClearField("training_info")
    _refuse(proto, name)
    _checked(proto, name)
    raised = _raised(proto, name)
    if raised is not proto:
        _checked(raised, name)
    return raised


def _checked(proto: onnx.ModelProto, name: str) -> None:
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise TemperError(f"{name} is no valid ONNX model: {reason(error, 150)}.", "Export it again.") from error


def _refuse(proto: onnx.ModelProto, name: str) -> None:
    graph = proto.graph
    if not graph.node:
        raise TemperError(f"{name} holds no network: its graph has no nodes.", "Export it again.")
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [
        *graph.initializer,
        *(a.t for a in attributes if a.HasField("t")),
        *(t for a in attributes for t in a.tensors),
    ]
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise TemperError(
            f"{name} keeps its weights in another file, which is not opened.", f"Save one file: {SINGLE}"
        )
    inner = any(
        a.graphs or a.HasField("g") or a.sparse_tensors or a.HasField("sparse_tensor") or a.ref_attr_name
        for a in attributes
    )
    if graph.sparse_initializer or inner:
        raise TemperError(
            f"{name} has loops, branches or sparse tensors, which are not read.", "Export plain layers."
        )
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in graph.node if n.domain not in ("", "ai.onnx")})
    if foreign or proto.functions:
        found = ", ".join(foreign[:3]) or "functions of its own"
        raise TemperError(
            f"{name} uses {shown(found, 100)}; only the standard ONNX operators are read.", "Export it again."
        )
    kinds = {node.op_type for node in graph.node}
    if kinds & QUANTIZED:
        found = sorted(kinds & QUANTIZED)[0]
        raise TemperError(
            f"{name} is quantized already ({found}); Temper starts from a float model.",
            "Load the float model it was made from.",
        )
    if kinds & LOOPS:
        raise TemperError(f"{name} holds {sorted(kinds & LOOPS)[0]}, which is not read.", "Export plain layers.")
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        names = ", ".join(shown(value.name, 30) for value in inputs[:3])
        raise TemperError(f"{name} takes {len(inputs)} inputs ({names}); one was expected.", ONE)
    kind = inputs[0].type.tensor_type
    ids = kind.elem_type in IDS and len(kind.shape.dim) == 2
    if not ids and (kind.elem_type != TensorProto.FLOAT or not 2 <= len(kind.shape.dim) <= 4):
        known = kind.elem_type in TensorProto.DataType.values()
        stated = TensorProto.DataType.Name(kind.elem_type) if known and kind.elem_type else "no tensor"
        raise TemperError(
            f"{name} reads {stated} of {len(kind.shape.dim)} axes; float32 pictures (N, C, H, W) or rows (N, F), "
            "or token ids (N, L), were expected.",
            "Export it with a float32 input.",
        )
    if not graph.output:
        raise TemperError(f"{name} has no output.", "Export it again.")


def _raised(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with operators recent enough to round weights by channel."""
    stated = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not stated or not OLDEST <= stated[0] <= NEWEST:
        raise TemperError(
            f"{name} states operator version {stated[0] if stated else 'none'}; {OLDEST} to {NEWEST} are read.",
            f"Export it with opset_version={OPSET}.",
        )
    if stated[0] >= OPSET:
        return proto
    try:
        return version_converter.convert_version(proto, OPSET)
    except Exception as error:
        raise TemperError(
            f"{name} has operators of version {stated[0]} that cannot be brought to version {OPSET}.",
            f"Export it with opset_version={OPSET}.",
        ) from error


def without_softmax(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Calibration needs logits: a last softmax is left out of a copy, a log-softmax may stay."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    notes = (OUTPUTS,) if len(made.graph.output) > 1 else ()
    makers = {output: node for node in made.graph.node for output in node.output}
    last = makers.get(made.graph.output[0].name)
    while last is not None and last.op_type == "Identity":
        last = makers.get(last.input[0])
    if last is None or last.op_type != "Softmax" or last.input[0] not in makers:
        return made, notes
    made.graph.output[0].name = last.input[0]
    made.graph.node.remove(last)
    return made, (*notes, SOFTMAX)
