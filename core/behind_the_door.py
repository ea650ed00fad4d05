"""The process that reads strangers' files: limits first, then the task from standard input, then one answer.

Started by `core.door`. Only JSON lines go to standard output; whatever libraries print goes nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

WRITTEN = 8 * 2**30  # bytes of one file it may write


def main() -> None:
    """Do the task."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def say(**line: Any) -> None:
        print(json.dumps(line), file=answers, flush=True)

    _limit(int(sys.argv[1]))
    try:
        from core.errors import TemperError

        task = json.loads(sys.stdin.read())
    except (ValueError, ImportError, MemoryError) as error:
        say(error=[f"The reader could not begin: {type(error).__name__}.", "Allow it more memory."])
        return
    try:
        from pathlib import Path

        from core.intake import bring
        from core.intake_moved import bring_moved
        from core.models.sentences import reason, swollen
        from core.wish import wish_from
    except (ImportError, MemoryError, OSError):  # the libraries themselves find no room
        say(error=_swollen())
        return
    try:
        wish = wish_from(task["wish"])
        read = bring_moved if wish.body else bring
        say(id=read(wish, Path(task["home"]), lambda done, what: say(done=done, what=what)))
    except TemperError as error:
        say(error=[error.message, error.hint])
    except Exception as error:  # a parser's own fault on a strange file: its sentence, never its trace
        if swollen(error):
            say(error=_swollen())
        else:
            what = f"These files cannot be read: {type(error).__name__}, {reason(error)}."
            say(error=[what, "Check them, or export again."])


def _swollen() -> list[str]:
    said = f"Reading these files needs more than {int(sys.argv[1]) / 2**30:.1f} GB of memory."
    return [said, "Give a smaller model or a part of the data, or set TEMPER_LOAD_MEMORY (gigabytes)."]


def _limit(memory: int) -> None:
    """Memory, no core dumps, no huge files; where the system knows no such limits there are none."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, WRITTEN),
    ):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):
            continue


if __name__ == "__main__":
    main()
