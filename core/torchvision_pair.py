"""Make `import torchvision` work where its build and torch's do not match. Import this first.

Some installations pair a CPU build of torch with a torchvision built for CUDA, whose import stops at a missing
operator. Then, and only then, the operator's schema is declared and the import tried again; models and transforms
work afterwards. A matching pair stays untouched.
"""

from __future__ import annotations

import sys

import torch

SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))

_declared: list[torch.library.Library] = []  # a library's definitions live as long as the object


def ensure() -> bool:
    """Import torchvision, declaring missing operators if that is what it takes. Returns whether it did."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in SCHEMAS:
            library.define(schema)
        _declared.append(library)
        import torchvision  # noqa: F401

        return True
    return False
