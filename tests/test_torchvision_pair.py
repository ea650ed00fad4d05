"""torchvision imports beside any build of torch, and its models then compute."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT


def test_a_fresh_process_can_use_torchvision_models():
    code = (
        "from core import torchvision_pair\n"
        "first = torchvision_pair.ensure()\n"
        "assert torchvision_pair.ensure() is False, 'the second time there is nothing to do'\n"
        "import torch, torchvision\n"
        "from torchvision.transforms import v2\n"
        "model = torchvision.models.mobilenet_v3_small(weights=None).eval()\n"
        "assert model(v2.functional.resize(torch.rand(1, 3, 32, 32), [64, 64])).shape == (1, 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
