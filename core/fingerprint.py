"""Content fingerprints: the same bytes always give the same short name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

LENGTH = 16  # hexadecimal digits kept: 64 bits, ample for telling a person's files apart


def of_bytes(content: bytes) -> str:
    """Fingerprint of raw bytes: the first 16 hexadecimal digits of their SHA-256."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def of_file(path: Path) -> str:
    """Fingerprint of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def of_json(value: Any) -> str:
    """Fingerprint of a JSON value, independent of the order of keys."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
