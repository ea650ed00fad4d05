"""CONTRIBUTING's 'Add a quantizer in one file', followed to the letter in a copy of the house."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## Add a quantizer in one file") :].split("\n## Add something else")[0]


@pytest.fixture
def house(tmp_path):
    shutil.copytree(ROOT / "core", tmp_path / "core", ignore=shutil.ignore_patterns("__pycache__"))
    place = re.search(r"Save this as `([^`]+)`", SECTION).group(1)
    code = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL).group(1)
    (tmp_path / place).write_text(code, encoding="utf-8")
    return tmp_path


def call(house, *arguments: str) -> str:
    environment = {**os.environ, "TEMPER_SAMPLES": str(ROOT / "sample_models"), "PYTHONPATH": str(house)}
    command = [sys.executable, "-m", "core", *arguments]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_new_file_is_found_listed_and_runs(house):
    listed = json.loads(call(house, "methods"))
    assert any(m["kind"] == "quantize" and m["name"] == "ternary" for m in listed)
    line = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL).group(1).strip()
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "core"]
    found = json.loads(call(house, *words[3:], "--json"))
    assert found["recipe"]["steps"][0]["params"] == {"threshold": 0.7}
    assert found["result"]["accuracy"] > 0.9, "thirty measurements survive three levels; a wrong scale would not"
    weights, biases = 2640, 74
    scales = biases  # one for each output of each layer, as biases are
    assert found["result"]["bytes"]["packed"] <= weights / 4 + 4 * (scales + biases), "two bits a weight"
    assert found["result"]["latency_ms"] is None
    assert "2-bit" in found["result"]["latency_note"]


def test_the_new_quantizer_draws_its_own_control(house):
    code = (
        "from core.registry import methods\n"
        "from ui.controls import PANEL, read, write\n"
        "import ui.controls as controls\n"
        "from core.recipe import Recipe, Step\n"
        "controls.st.session_state = {}\n"
        "of = Recipe((Step.of('quantize', 'ternary', {'threshold': 0.5}),))\n"
        "write(of, 'multi-class')\n"
        "assert read(of) == of, read(of)\n"
    )
    shutil.copytree(ROOT / "ui", house / "ui")
    environment = {**os.environ, "PYTHONPATH": str(house)}
    subprocess.run([sys.executable, "-c", code], cwd=house, env=environment, check=True, capture_output=True)


def test_the_new_quantizer_stays_out_of_recipes_that_do_not_name_it(house):
    code = (
        "import ui.controls as controls\n"
        "from core.recipe import Recipe, Step\n"
        "controls.st.session_state = {}\n"
        "for of in (Recipe(), Recipe((Step.of('quantize', 'ternary'),)), Recipe()):\n"
        "    controls.write(of, 'binary')\n"
        "    assert controls.read(of) == of, controls.read(of)\n"
    )
    shutil.copytree(ROOT / "ui", house / "ui")
    environment = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run([sys.executable, "-c", code], cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
