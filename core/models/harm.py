"""Does the text of an exported program ask for more than arithmetic on its own tensors?

Reading such a program makes Python source out of its names, evaluates its symbolic sizes and looks its operators up
by name; so names must be names, sizes arithmetic and operators plain ones.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

WORDS = {"gelu", "gelu_", "div", "div_", "einsum", "pad", "conv1d", "conv2d", "conv3d", "bucketize", "searchsorted"}
INNER = {
    "_adaptive_avg_pool2d", "_log_softmax", "_native_batch_norm_legit_no_training", "_safe_softmax",
    "_scaled_dot_product_flash_attention_for_cpu", "_softmax", "_to_copy", "_unsafe_view", "_assert_tensor_metadata",
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
}  # fmt: skip
OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
PYTHON = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_)|torch\.sym_(int|max|min|float)"
)
TEXTS = {"in_spec", "out_spec", "expr_str"}  # texts of their own form, each looked at by itself
ROUNDED = {"as_string", "verifiers", "torch_version", "type"}  # never become source: einsum's 'ij,jk->ik', versions
NAME = re.compile(r"[\w.-]*")
PLAIN = re.compile(r"[\w .,:+>-]*")
TREES = {"builtins.tuple", "builtins.list", "builtins.dict", None}
CALLS = {
    "Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv",
    "CleanDiv", "Eq", "Ne", "Lt", "Le", "Gt", "Ge",
}  # fmt: skip
KEYWORDS = {"positive", "nonnegative", "negative", "integer", "real", "evaluate"}
SIGNS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd)
LONG = 2_000  # characters of one size


def harm(given: Any) -> str:
    """What of an archive's JSON goes beyond a network of plain operators, as a clause; '' for nothing."""
    waiting: list[tuple[str, Any]] = [("", given)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            why = _object(value)
            if why:
                return why
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, item) for item in value)
        elif isinstance(value, str) and key not in TEXTS:
            allowed = PLAIN if key in ROUNDED else NAME
            if not allowed.fullmatch(value):
                return f"a name in it is no name: {value[:40]!r}"
    return ""


def _object(owner: dict[str, Any]) -> str:
    if owner.get("use_pickle"):
        return "it asks for a pickle, which could run anything"
    if any(owner.get(key) is not None for key in ("as_custom_obj", "as_graph", "as_operator")):
        return "it holds custom objects or inner graphs"
    if "/" in str(owner.get("path_name", "")):
        return "it names a file outside its own folder"
    if not all(NAME.fullmatch(str(key)) for key in owner):
        return f"a name in it is no name: {next(str(k) for k in owner if not NAME.fullmatch(str(k)))[:40]!r}"
    if "expr_str" in owner and not is_arithmetic(owner["expr_str"]):
        return "a size in it is written as something other than arithmetic"
    if "target" in owner and not is_plain_operator(str(owner["target"])):
        return f"it calls {str(owner['target'])[:60]!r}, which is no plain operator"
    if not all(_plain_tree(owner[key]) for key in ("in_spec", "out_spec") if owner.get(key) is not None):
        return "its inputs or outputs are of a custom type"
    return ""


@cache
def is_plain_operator(target: str) -> bool:
    """Whether a target is arithmetic on sizes or a tensor operator that takes no file name or other text."""
    if PYTHON.fullmatch(target):
        return True
    found = OPERATOR.fullmatch(target)
    if found is None or (found[1].startswith("_") and found[1] not in INNER):
        return False
    packet = getattr(torch.ops.aten, found[1], None)
    operator = getattr(packet, found[2], None)
    if not isinstance(operator, torch._ops.OpOverload):
        return False
    schema = operator._schema
    full = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
    if not torch._C._dispatch_has_kernel(full):
        return False  # a primitive of TorchScript, among which some write files
    kinds = " ".join(str(argument.type) for argument in schema.arguments)
    return "Storage" not in kinds and (found[1] in WORDS or "str" not in kinds)


def is_arithmetic(text: Any) -> bool:
    """Whether a symbolic size is sums, products and the like of symbols and whole numbers, of a bounded size."""
    if not isinstance(text, str) or len(text) > LONG:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    nodes = list(ast.walk(tree))
    powers = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Pow"]
    if len(powers) > 2 or not all(len(power.args) == 2 and _small(power.args[1]) for power in powers):
        return False
    return all(_is_part(node) for node in nodes)


def _small(node: ast.expr) -> bool:
    """An exponent that cannot make a number of a billion digits."""
    return re.fullmatch(r"(Integer\()?-?[0-4]\)?", ast.unparse(node)) is not None


def _is_part(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in CALLS
        return named and all(word.arg in KEYWORDS for word in node.keywords)
    if isinstance(node, ast.Name):
        return node.id in CALLS or re.fullmatch(r"[a-z]{1,3}\d+", node.id) is not None
    if isinstance(node, ast.Constant):
        plain_text = isinstance(node.value, str) and re.fullmatch(r"[a-z]{1,3}\d+", node.value) is not None
        return plain_text or isinstance(node.value, int | None)
    return isinstance(node, (ast.BinOp, ast.UnaryOp, ast.keyword, ast.expr_context, *SIGNS))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object at any depth."""
    waiting = [value]
    while waiting:
        now = waiting.pop()
        if isinstance(now, dict):
            yield now
            waiting.extend(now.values())
        elif isinstance(now, list):
            waiting.extend(now)


def _plain_tree(text: Any) -> bool:
    """Whether a description of inputs or outputs holds tuples, lists and dictionaries of plain names only."""
    try:
        for owner in objects(json.loads(text)):
            context = json.loads(owner.get("context") or "null")
            names = context if isinstance(context, list) else [context]
            if owner.get("type") not in TREES or not all(
                name is None or (isinstance(name, str) and NAME.fullmatch(name)) for name in names
            ):
                return False
    except (ValueError, TypeError, RecursionError):
        return False
    return True
