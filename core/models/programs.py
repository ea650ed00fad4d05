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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import fx

from core.errors import TemperError
from core.models.states import PROGRAM

MOST = 4 * 2**30  # bytes the archive may unpack to
ENTRIES = 100_000
TEXT = 200 * 2**20  # bytes of one JSON entry
KEPT = re.compile(
    r"models/[\w.-]+\.json|data/(weights|constants)/[\w.-]+|archive_format|archive_version|byteorder|\.data/version|version"
)
EXPRESSION = re.compile(
    r"(?:\b(?:Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|positive|nonnegative"
    r"|negative|integer|real|True|False|None|[su]\d+|\d+)\b|[-+*/(),='\s])*"
)
OPERATORS = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|getitem|eq|ne|lt|le|gt|ge)"
    r"|torch\.sym_(int|max|min|float|sqrt)"
)
TREES = {"builtins.tuple", "builtins.list", "builtins.dict", None}


def read_program(path: Path) -> fx.GraphModule:
    """The program's module, in evaluation mode. Raises `TemperError`."""
    rebuilt = io.BytesIO(_rebuilt(path))
    try:
        program = torch.export.load(rebuilt)
        return _traceable(program.module(check_guards=False))
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TemperError(
            f"{path.name} is no exported program that this PyTorch ({torch.__version__}) reads: {said:.120}.",
            f"Export it again: {PROGRAM}",
        ) from error


def _traceable(module: fx.GraphModule) -> fx.GraphModule:
    """Call PyTorch's own functions instead of bare operators, whose sizes the tracer does not follow."""
    for node in module.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        name = node.target._schema.name.removeprefix("aten::")
        if name == "sym_size":
            name = "size"
        if name == "slice":
            node.target = _slice
            continue
        for owner in (torch._C._nn, torch, torch.Tensor):
            if hasattr(owner, name):
                node.target = getattr(owner, name)
                break
    return fx.GraphModule(module, module.graph)  # without the hooks that check the input


def _slice(
    x: torch.Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> torch.Tensor:
    place = [slice(None)] * dim
    return x[(*place, slice(start, end, step))]


def _refused(path: Path, why: str) -> TemperError:
    return TemperError(f"{path.name} was not opened: {why}.", f"Export it again: {PROGRAM}")


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
                    raise _refused(path, f"its entry {entry.filename[:60]!r} has a path of no exported program")
                seen.add(name)
                if entry.file_size > max(1000 * entry.compress_size, 10_000_000):
                    raise _refused(path, f"its entry {name[:60]!r} explodes when unpacked")
                if name.startswith("data/aotinductor") or "custom_obj" in name or "opaque_obj" in name:
                    raise _refused(path, "it holds compiled code or custom objects, which would run")
                if not KEPT.fullmatch(name):
                    continue
                content = archive.read(entry)
                if name.endswith(".json"):
                    content = _inspected(path, name, content)
                clean.writestr(f"model/{name}", content)
                if name.startswith("models/"):  # the examples beside a program are pickles: none are given
                    clean.writestr(f"model/data/sample_inputs/{Path(name).stem}.pt", b"")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        raise _refused(path, f"it is no whole archive ({error!s:.80})") from error
    if not any(name.startswith("models/") for name in seen):
        raise _refused(path, "no exported program is inside, or one of an older format")
    return made.getvalue()


def _inspected(path: Path, name: str, content: bytes) -> bytes:
    if len(content) > TEXT:
        raise _refused(path, f"its entry {name[:60]!r} is too long")
    try:
        given = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its entry {name[:60]!r} is no JSON") from error
    if not isinstance(given, dict):
        raise _refused(path, f"its entry {name[:60]!r} is no JSON object")
    for owner in _objects(given):
        why = _harm(owner)
        if why:
            raise _refused(path, why)
        if "metadata" in owner:  # names of source lines and modules, looked up when read
            owner["metadata"] = {}
    if name.startswith("models/"):
        given["guards_code"] = []
        if isinstance(given.get("graph_module"), dict):
            given["graph_module"]["treespec_namedtuple_fields"] = {}
    return json.dumps(given).encode()


def _harm(owner: dict[str, Any]) -> str:
    """What an object of the archive's JSON would do that a network of plain operators does not; '' for nothing."""
    if owner.get("use_pickle"):
        return "it asks for a pickle, which could run anything"
    if not re.fullmatch(r"[\w.-]*", str(owner.get("path_name", ""))):
        return "it names a file outside its own folder"
    written = [owner["expr_str"]] if "expr_str" in owner else []
    ranges = owner.get("range_constraints")
    written += list(ranges) if isinstance(ranges, dict) else []
    if not all(isinstance(text, str) and _is_arithmetic(text) for text in written):
        return "a size in it is written as something other than arithmetic"
    if "inputs" in owner and "target" in owner and not OPERATORS.fullmatch(str(owner["target"])):
        return f"it calls {str(owner['target'])[:60]!r}, which is no plain operator"
    if any(owner.get(key) is not None for key in ("as_custom_obj", "as_graph", "as_operator")):
        return "it holds custom objects or inner graphs"
    if not all(_plain_tree(owner[key]) for key in ("in_spec", "out_spec") if isinstance(owner.get(key), str)):
        return "its inputs or outputs are of a custom type"
    return ""


def _is_arithmetic(text: str) -> bool:
    return len(text) < 1000 and "**" not in text and EXPRESSION.fullmatch(text) is not None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object at any depth."""
    waiting = [value]
    while waiting:
        now = waiting.pop()
        if isinstance(now, dict):
            yield now
            waiting.extend(now.values())
        elif isinstance(now, list):
            waiting.extend(now)


def _plain_tree(text: str) -> bool:
    try:
        return all(owner.get("type") in TREES for owner in _objects(json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        return False
