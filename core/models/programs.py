"""Open a `.pt2` exported program after its archive was inspected and rebuilt from what is known to be harmless.

`torch.export.load` by itself unpickles entries that ask for it, evaluates the text of symbolic expressions and
executes the text of guards. So every entry but the graph and raw tensors is left out, and the graph's text is held
against what an exported network of plain operators needs.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import torch
from torch import fx

from core.data.archive import shown
from core.errors import TemperError
from core.models.harm import harm, objects
from core.models.sentences import reason
from core.models.states import PROGRAM, check_tensors

MOST = 4 * 2**30  # bytes the archive may unpack to
ENTRIES = 100_000
TEXT = 200 * 2**20  # bytes of one JSON entry
KEPT = re.compile(
    r"models/\w+\.json|data/weights/(weight_\d+|\w+_weights_config\.json)"
    r"|data/constants/(tensor_\d+|\w+_constants_config\.json)"  # any other name there may be read as a pickle
    r"|archive_format|archive_version|byteorder|\.data/version|version"
)


def read_program(path: Path) -> fx.GraphModule:
    """The program's module, in evaluation mode. Raises `TemperError`."""
    rebuilt = io.BytesIO(_rebuilt(path))
    try:
        program = torch.export.load(rebuilt)
        check_tensors({**program.state_dict, **program.constants}, path)
        return _traceable(program.module(check_guards=False), path)
    except (MemoryError, TemperError):
        raise
    except Exception as error:
        raise TemperError(
            f"{shown(path.name)} is no exported program that this PyTorch ({torch.__version__}) reads: "
            f"{reason(error, 120)}.",
            f"Export it again: {PROGRAM}",
        ) from error


def _traceable(module: fx.GraphModule, path: Path) -> fx.GraphModule:
    """Call PyTorch's own functions instead of bare operators, whose sizes the tracer does not follow."""
    for node in module.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if _in_training(node):
            raise TemperError(
                f"{shown(path.name)} was exported in training mode: dropout or batch statistics are still on.",
                f"Call model.eval() first: {PROGRAM}",
            )
        name = node.target._schema.name.removeprefix("aten::")
        if name == "sym_size":
            name = "size"
        if name == "slice":
            node.target = _slice
            continue
        if name == "index":
            node.target = _index
            continue
        for owner in (torch._C._nn, torch, torch.Tensor):
            if hasattr(owner, name):
                node.target = getattr(owner, name)
                break
    return fx.GraphModule(module, module.graph)  # without the hooks that check the input


def _in_training(node: fx.Node) -> bool:
    """Whether an operator is told to drop values or to take its statistics from the batch.

    A batch-norm without running statistics normalises weights, not examples.
    """
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    told = bool(given.get("train") or given.get("training"))
    return told and ("running_mean" not in names or given.get("running_mean") is not None)


def _slice(
    x: torch.Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> torch.Tensor:
    place = [slice(None)] * dim
    return x[(*place, slice(start, end, step))]


def _index(x: torch.Tensor, indices: list[torch.Tensor | None]) -> torch.Tensor:
    return x[tuple(slice(None) if place is None else place for place in indices)]


def _refused(path: Path, why: str) -> TemperError:
    return TemperError(f"{shown(path.name)} was not opened: {shown(why, 160)}.", f"Export it again: {PROGRAM}")


def _rebuilt(path: Path) -> bytes:
    """The archive again, from inspected entries only."""
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as clean:
            entries = archive.infolist()
            if len(entries) > ENTRIES or sum(entry.file_size for entry in entries) > MOST:
                raise _refused(path, f"it unpacks to more than {ENTRIES:,} entries or {MOST >> 30} GiB")
            seen: set[str] = set()
            for entry in entries:
                name = entry.filename.partition("/")[2]
                if ".." in entry.filename.split("/") or entry.filename.startswith(("/", "\\")) or name in seen:
                    raise _refused(path, f"its entry {shown(entry.filename, 50)} has a path of no exported program")
                seen.add(name)
                if entry.file_size > max(1000 * entry.compress_size, 10_000_000):
                    raise _refused(path, f"its entry {name[:60]!r} explodes when unpacked")
                if name.startswith("data/aotinductor") or "custom_obj" in name or "opaque_obj" in name:
                    raise _refused(path, "it holds compiled code or custom objects, which would run")
                if not KEPT.fullmatch(name):
                    continue
                if not entry.file_size:
                    raise _refused(path, f"its entry {name[:60]!r} is empty")  # such tensors may claim any size
                content = archive.read(entry)
                if name.endswith(".json"):
                    content = _inspected(path, name, content)
                clean.writestr(f"model/{name}", content)
                if name.startswith("models/"):  # the examples beside a program are pickles: none are given
                    clean.writestr(f"model/data/sample_inputs/{Path(name).stem}.pt", b"")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        raise _refused(path, f"it is no whole archive ({reason(error, 80)})") from error
    if not any(name.startswith("models/") for name in seen):
        raise _refused(path, "no exported program is inside, or one of an older format")
    return made.getvalue()


def _inspected(path: Path, name: str, content: bytes) -> bytes:
    if len(content) > TEXT:
        raise _refused(path, f"its entry {name[:60]!r} is too long")
    try:
        given = json.loads(content)
        if not isinstance(given, dict):
            raise _refused(path, f"its entry {name[:60]!r} is no JSON object")
        for owner in objects(given):
            if "metadata" in owner:  # names of source lines and modules, looked up when read
                owner["metadata"] = {}
            if owner.keys() == {"type", "index"}:  # a device; programs from elsewhere run on this processor
                owner.update(type="cpu", index=None)
        if name.startswith("models/"):
            given["guards_code"] = []
            if isinstance(given.get("graph_module"), dict):
                given["graph_module"]["treespec_namedtuple_fields"] = {}
        why = harm(given)
        if why:
            raise _refused(path, why)
        return json.dumps(given).encode()
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its entry {name[:60]!r} is no plain JSON") from error
