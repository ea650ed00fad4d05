"""What a person should know of data that a body is moved to: what of it judged the body, what classes it lacks."""

from __future__ import annotations

from core.data.handle import DataHandle, load_split, split_for_fitting
from core.training.suitability.duplicates import hashes

NAMED = 3  # classes that are named


def remarks(title: str, own: DataHandle, new: DataHandle) -> tuple[str, ...]:
    """Sentences on `new` beside `own`, the data of the body called `title`; both as the body reads them."""
    return tuple(filter(None, (_judged(title, own, new), _lacking(title, own, new))))


def _judged(title: str, own: DataHandle, new: DataHandle) -> str:
    known = set(hashes(load_split(own, "evaluation").inputs))
    read = hashes(split_for_fitting(new, "fit").inputs)
    same = sum(one in known for one in read)
    if not same:
        return ""
    return (
        f"{same:,} of the {len(read):,} examples to learn from are evaluation examples of {title}: hold what comes "
        f"of this against its own evaluation split here, and not against figures of {title}."
    )


def _lacking(title: str, own: DataHandle, new: DataHandle) -> str:
    if not own.task.decides or not new.task.decides or not set(new.classes) < set(own.classes):
        return ""
    gone = [name for name in own.classes if name not in new.classes]
    few = ", ".join(gone[:NAMED]) + (f" and {len(gone) - NAMED} more" if len(gone) > NAMED else "")
    return f"Of the {len(own.classes)} classes of {title} these data lack {few}, which it will not tell any more."
