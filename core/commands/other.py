"""Data beside a model's own, as commands name them: at hand for it, or files of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.commands.pair import FILES, read_in
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.data.handle import DataHandle
    from core.models.handle import ModelHandle
    from core.transfer import Offer

OTHERS = f"other data: {FILES}; a name that 'models' lists; digits; a group of the model's data as TITLE=NAME"


def other(options: argparse.Namespace, model: ModelHandle, data: DataHandle) -> Offer | str:
    """What `--data` names: data at hand, or the id of the pair that files make with the model's body.

    Raises `TemperError`.
    """
    from core.data.borrowed import by_group, written_digits
    from core.models.samples import load_sample, own_ids, sample_ids
    from core.transfer import FITTED, Offer, offers

    name = str(options.data)
    title, equals, value = name.partition("=")
    groups = {one.title: one for one in data.groups}
    if name in (*sample_ids(), *own_ids()):
        key, found, said = f"data {name}", load_sample(name)[1], ""
    elif name == "digits":
        key, found, said = "digits", written_digits(), ""
    elif equals and title in groups:
        if value not in groups[title].names:
            names = ", ".join(groups[title].names)
            raise TemperError(f"No group by {title} is called {value!r:.60}; there are: {names:.300}.")
        code = groups[title].names.index(value)
        key, found, said = f"group {title} {code}", by_group(data, title, code), f"By {title}. {FITTED}"
    elif Path(name).exists():
        made = read_in(options, str(options.model), body=True)
        print(f"temper: These data are kept as '{made}', with a last layer of their own.", file=sys.stderr)
        return made
    else:
        known = f" Groups of '{data.id}': {', '.join(groups)}." if groups else ""
        raise TemperError(
            f"--data must be a file or folder, a name that 'models' lists, digits, or TITLE=NAME of a group; got "
            f"{name!r:.100}.{known}"
        )
    listed = {offer.key: offer for offer in offers(model, data)}
    return listed.get(key) or Offer(key, found.title, value or found.title, said, lambda: found)
