"""The house's rules, held: who may import whom, nothing unsafe, nothing out of place."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT

HEAVY = {"numpy", "torch", "pandas", "plotly", "scipy", "sklearn", "onnx", "onnxruntime", "PIL"}
TOP = {
    ".ci", ".gitignore", ".streamlit", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "app.py", "benchmarks", "core", "docs", "pages", "pyproject.toml", "requirements-bench.txt",
    "requirements-dask.txt", "requirements-dev.txt", "requirements-mlflow.txt", "requirements.txt", "sample_models",
    "tests", "ui",
}  # fmt: skip
PARTS = (  # of core, each building on those before it alone
    "engine", "jobs", "sweeps", "layers", "search", "damage", "decisions", "calibration", "training", "figures",
)  # fmt: skip
LONGEST = 350  # lines: about where a second idea begins
UNSAFE = (
    r"\bimport pickle",
    r"pickle\.loads?\(",
    r"weights_only\s*=\s*False",
    r"allow_pickle\s*=\s*True",
    r"torch\.jit\.load\(",
    r"\beval\(['\"]",
    r"unsafe_allow_html",
)
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("ui/**/*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"])


def imported(source: str) -> set[str]:
    """Full names of everything a module imports when it runs, TYPE_CHECKING blocks left out."""
    found: set[str] = set()

    def walk(nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            walk(ast.iter_child_nodes(node))

    walk([ast.parse(source)])
    return found


def roots(source: str) -> set[str]:
    return {name.split(".")[0] for name in imported(source)}


def breaches(kind: str, source: str) -> set[str]:
    """What a module of this part of the house imports and must not."""
    forbidden = {
        "core": {"streamlit", "ui", "pages", "app"},
        "ui": {"torch", "pages", "app"},
        "pages": HEAVY | {"core"},
    }[kind]
    return roots(source) & forbidden


def part(path: Path) -> str:
    return "pages" if path.name == "app.py" else path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    assert not breaches(part(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("core", "import streamlit as st"),
        ("core", "def f():\n    from ui import frame"),
        ("pages", "import numpy as np"),
        ("pages", "from core.engine.evaluate import evaluate"),
        ("ui", "import torch"),
    ],
)
def test_a_breach_is_seen(kind, source):
    assert breaches(kind, source)


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Every import cycle reachable, as paths of module names."""
    found: list[list[str]] = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
            return
        if name in done:
            return
        for other in sorted(imports.get(name, ())):
            visit(other, [*path, name])
        done.add(name)

    done: set[str] = set()
    for name in sorted(imports):
        visit(name, [])
    return found


def test_core_and_ui_have_no_cycles():
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in SOURCES}
    names = {name.removesuffix(".__init__"): p for name, p in names.items()}
    at_import = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        at_import[name] = (imported(ast.unparse(top)) & set(names)) - {name}
    assert cycles(at_import) == []
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}), "the search itself works"


def later(part_of_core: str, source: str) -> set[str]:
    """The parts that a module of this part imports and that stand after it."""
    named = {name.split(".")[1] for name in imported(source) if name.startswith("core.")}
    return named & set(PARTS[PARTS.index(part_of_core) + 1 :])


@pytest.mark.parametrize("name", PARTS)
def test_the_parts_of_core_build_on_each_other_one_way(name):
    files = sorted(ROOT.glob(f"core/{name}/*.py"))
    assert {path.name: later(name, path.read_text(encoding="utf-8")) for path in files} == {
        path.name: set() for path in files
    }
    assert name == PARTS[-1] or later(name, f"from core.{PARTS[-1]}.x import y"), "a breach is seen"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unsafe_and_nothing_too_long(path):
    text = path.read_text(encoding="utf-8")
    assert not [pattern for pattern in UNSAFE if re.search(pattern, text)]
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "every module says what it does"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "x = pickle.load(f)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle = True)",
        "torch.jit.load(p)",
        "eval('1')",
        "st.markdown(t, unsafe_allow_html=True)",
    ],
)
def test_what_is_unsafe_is_seen(line):
    assert [pattern for pattern in UNSAFE if re.search(pattern, line)]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def test_the_top_level_holds_only_what_it_may():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP


def test_no_file_names_a_package_registry():
    hosts = re.compile(
        "|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(org|com)", "deb" + r"ian\.org"))
    )
    texts = [p for p in tracked() if p.exists() and p.suffix not in {".npz", ".onnx", ".safetensors", ".png"}]
    assert not [str(p) for p in texts if hosts.search(p.read_text(encoding="utf-8"))]


def test_the_theme_has_one_source():
    import tomllib

    from core.figures.theme import palette

    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    for mode in ("light", "dark"):
        p, said = palette(mode), theme[mode]
        assert said["backgroundColor"] == p.background
        assert said["secondaryBackgroundColor"] == p.surface
        assert said["textColor"] == p.text
        assert said["primaryColor"] == p.accent
        assert said["borderColor"] == p.line


def test_nothing_is_sent_and_nothing_is_open_to_others():
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["address"] == "127.0.0.1"
