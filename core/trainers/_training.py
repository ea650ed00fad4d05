"""What every way of training does: find it done, or prepare, learn, keep, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from core import fingerprint
from core.engine.context import Context
from core.engine.network import Network
from core.engine.runtime import threads
from core.errors import TemperError
from core.trainers._settings import EPOCHS, RATES, plan_of
from core.training import kept
from core.training.device import computing, device
from core.training.examples import Examples, examples
from core.training.learner import Learner, Part, trainable
from core.training.loop import Calls, Diverged, Look, Loss, State, learn
from core.training.measured import looking
from core.training.pace import Paced, epochs_in
from core.training.permit import Permit, StoppedEarly, Untrained, permit
from core.training.plan import CHECKS, Plan
from core.training.rate_range import Ranged, rate_range

Values = Mapping[str, Any]


def key_of(network: Network, name: str, values: Values, context: Context, beside: str = "") -> str:
    """Names a training by all that decides what comes of it; `beside` names what else it learns from."""
    made_by = [network.identity, "train", name, dict(values), context.seed, context.data.fingerprint, beside]
    return fingerprint.of_json(made_by)


def trained(
    network: Network,
    name: str,
    values: Values,
    context: Context,
    loss: Callable[[], Loss],
    part: Part,
    scales: bool = False,
    beside: str = "",
) -> tuple[Network, dict[str, Any]]:
    """The network after a training: the one kept from an earlier time, or else one run now, where that is allowed.

    Raises `Untrained` where it is not, `StoppedEarly` where a person ended it, `TemperError` where it cannot be run.
    """
    network = network.after(beside) if beside else network
    folder = kept.place(key_of(network, name, values, context, beside))
    may = permit()
    found = kept.load_trained(folder, network) if may is None or not (may.ranging or may.seconds) else None
    if found is not None:
        if may is not None:
            for look in found[1]["looks"]:
                may.looked(Look(**look))
            may.saved(folder)
        return found[0], _said(found[1])
    if may is None:
        raise Untrained(
            f"The recipe trains ('{name}', {float(values['epochs']):g} epochs), which was not run on this machine.",
            "Run it on the Adapt page, or with `python -m core run`; or leave the train step out.",
        )
    plan = plan_of(values, context.seed)
    given = examples(context.data, context.seed, plan.keep == "best", int(values["examples"]) or None)
    where = device()
    with computing(where):
        learner = Learner(network, part, scales, context.seed, where)
    if not learner.leaves:
        raise TemperError("Nothing in this network can learn: it has no weights that are numbers.")
    about = {"method": name, "values": dict(values), "examples": len(given.y), "held": given.apart}
    with _all_cores(), computing(where):
        if may.seconds is not None:
            asked = (may.seconds, learner, given, context.data.modality, loss(), plan, looking(context.data, given))
            raise Paced(epochs_in(*asked, EPOCHS))
        if may.ranging:
            raise Ranged(rate_range(learner, given, loss(), plan, RATES, may.told))
        state, note = _learned(learner, given, context, loss(), plan, may, folder, about)
    until = min(plan.until, round(state.step / plan.steps(len(given.y)) * CHECKS) / CHECKS)
    result = learner.network()
    facts = {**about, "note": note, "until": until, "looks": [asdict(look) for look in state.looks]}
    facts |= {
        "seconds": state.seconds,
        "best_step": state.best_step,
        "learned": _count(learner),
        "threads": threads(),
        "where": ", then ".join(state.places),
    }
    if until < plan.until:
        folder_then = kept.place(key_of(network, name, {**values, "until": until}, context, beside))
        kept.save_trained(folder_then, result, part.names | _norms(learner), facts)
        may.saved(folder_then)  # the state stays: it may go on to its end
        raise StoppedEarly(until, note)
    kept.save_trained(folder, result, part.names | _norms(learner), facts)
    may.saved(folder)
    return result, _said(facts)


def _learned(
    learner: Learner,
    given: Examples,
    context: Context,
    loss: Loss,
    plan: Plan,
    may: Permit,
    folder: Path,
    about: Values,
) -> tuple[State, str]:
    def told(fraction: float) -> None:
        context.told(fraction)
        may.told(fraction)

    calls = Calls(
        looking(context.data, given), told, may.looked, lambda state: kept.save_state(folder, state, about), may.leave
    )
    before = kept.load_state(folder)
    for look in before.looks if before else ():
        may.looked(look)
    try:
        return learn(learner, given, context.data.modality, loss, plan, calls, before), ""
    except Diverged as error:
        return error.state, error.message


@contextmanager
def _all_cores() -> Iterator[None]:
    """Elsewhere torch handles weights on one thread; training computes with it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.set_num_threads(before)


def _norms(learner: Learner) -> frozenset[str]:
    return frozenset(name.removeprefix("norm ") for name in learner.state() if name.startswith("norm "))


def _count(learner: Learner) -> int:
    return sum(leaf.numel() for leaf in (*learner.leaves.values(), *learner.grown.values()))


def _said(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a step reports of a training: its size, its time and the loss at both ends."""
    looks = [Look(**look) for look in facts["looks"]]
    said = {
        "examples": facts["examples"],
        "learned": facts["learned"],
        "steps": looks[-1].step,
        "epochs": looks[-1].epoch,
        "seconds": facts["seconds"],
        "where": facts.get("where", ""),
        "loss": {name: [looks[0].values[name], looks[-1].values[name]] for name in looks[0].values},
    }
    return said | ({"warning": facts["note"]} if facts["note"] else {})


def everything(network: Network) -> Part:
    """All that can learn."""
    return Part(frozenset(trainable(network)))


def named_part(network: Network, layers: str, rank: int) -> Part:
    """What learns where a person says `all`, `head`, `gradual` or `adapters`."""
    if layers == "adapters":
        return Part(frozenset(layer.weight for layer in network.layers), rank)
    if layers == "head":
        last = network.layers[-1]
        return Part(frozenset({last.weight, last.bias} & set(trainable(network))))
    return everything(network)
