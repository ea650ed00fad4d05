"""What libraries say about a file, cut down to what a person can use."""

from __future__ import annotations

import re

from core.data.archive import shown

NOISE = (
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"^(Load model from \S+ failed:|Exception caught:|Error while deserializing header:)\s*", re.I),
    re.compile(r"^\S*/\S+\.(cc|cpp|h|hpp):\d+ \S+( \[\w+\])?\s*"),  # where in a library's source
    re.compile(r"^\[(enforce fail at|ShapeInferenceError|TypeInferenceError)[^\]]*\]\s*"),
    re.compile(r"^(Fail|Error|This is an invalid model\.)[:.]?\s+", re.I),
)
SWOLLEN = re.compile(
    r"bad_alloc|failed to allocate|can't allocate memory|unable to allocate|not enough memory|out of memory"
    r"|require more than \d+ bytes|DefaultCPUAllocator|length_error|max_size",
    re.I,
)


def reason(error: BaseException, most: int = 140) -> str:
    """The first line that says something, without a library's marks, full stop left to the caller."""
    lines = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), type(error).__name__)
    for _ in range(2):
        for pattern in NOISE:
            text = pattern.sub("", text, count=1)
    text = re.sub(r"(/[\w.+-]+){3,}", "...", text)  # paths of this machine
    return shown(text.strip() or type(error).__name__, most).rstrip(". :")


def swollen(error: BaseException) -> bool:
    """Whether a library's error says that memory ran out."""
    return isinstance(error, MemoryError) or SWOLLEN.search(str(error)) is not None
