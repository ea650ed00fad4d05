"""Where a person's own files lie: runs kept, and whatever else outlives a visit."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path | None:
    """`TEMPER_HOME`, or the system's place for user data; None when `TEMPER_HOME` is empty: nothing is kept.

    The folder may not be there yet; whoever writes first makes it.
    """
    named = os.environ.get("TEMPER_HOME")
    if named is not None:
        return Path(named).expanduser() if named else None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "temper"
