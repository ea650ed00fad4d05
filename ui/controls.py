"""Controls drawn from the registry: each method's declared parameters become sliders and pickers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from core.models.handle import ModelHandle
from core.recipe import Recipe, Step
from core.registry import Kind, Method, Param, Value, method, methods
from core.task import TaskKind

NONE = "none"
PANEL: tuple[tuple[Kind, str], ...] = (
    ("prune", "Pruning"),
    ("quantize", "Quantization"),
    ("repair", "Repair without training"),
    ("calibrate", "Confidence calibration"),
)
NUMBERS_TITLE = "Interval calibration"
IDLE = {"prune": "Nothing is removed at 0 %.", "quantize": "Nothing is quantized at 32 bits."}


def _key(*parts: str) -> str:
    return ":".join(("control", *parts))


def can_show(recipe: Recipe) -> bool:
    """Whether the panel can show a recipe: at most one step of each kind, and of repairs one a method, in order."""
    steps = recipe.without("train").steps  # trainings stand where they were made, and are shown beside the panel
    kinds = [step.kind if step.kind != "repair" else step.method for step in steps]
    ranks = [method(step.kind, step.method).rank for step in steps]
    known = all(step.kind in dict(PANEL) for step in steps)
    return known and len(set(kinds)) == len(kinds) and ranks == sorted(ranks)


def shown(param: Param, value: Value) -> Value:
    """A parameter's value as its control holds it: fractions in whole per cent."""
    return round(100 * float(value or 0)) if param.unit == "fraction" else value


def stored(param: Param, held: Value) -> Value:
    """What a control holds, as a parameter's value."""
    return float(held or 0) / 100 if param.unit == "fraction" else held


def write(recipe: Recipe, task: TaskKind) -> None:
    """Set every control to what the recipe says; a kind without a step shows its neutral values."""
    by_kind: dict[str, Step] = {step.kind: step for step in recipe.steps}
    for one in methods("repair", task):
        step = next((s for s in recipe.steps if (s.kind, s.method) == ("repair", one.name)), None)
        st.session_state[_key("repair", one.name)] = step is not None
        _write_values(one, step)
    for kind, _ in PANEL:
        if kind == "repair":
            continue
        step = by_kind.get(kind)
        fallback = _first_choice(kind, task)
        st.session_state[_key(kind)] = step.method if step else fallback
        for one in methods(kind, task):
            _write_values(one, step)


def _write_values(one: Method, step: Step | None) -> None:
    """A method's parameters as the step has them, or else as they change nothing."""
    given = step.values if step and step.method == one.name else one.complete({}) | one.neutral
    for param in one.parameters:
        st.session_state[_key(one.kind, one.name, param.name)] = shown(param, given[param.name])


def _first_choice(kind: Kind, task: TaskKind) -> str:
    """What a kind without a step shows: no method, or the kept one at its neutral values."""
    found = [one for one in methods(kind, task) if one.neutral]  # only these can rest at changing nothing
    idle = [one.name for one in found]
    kept = st.session_state.get(_key(kind))
    return kept if kept in idle else (idle or [NONE])[0]


def read(before: Recipe) -> Recipe:
    """The recipe that the controls show, with what single layers had of their own `before` where it still applies.

    A training stays where all that stood before it does; else it would have to be run again, and is left out.
    """
    chosen = [
        method(kind, name)
        for kind, _ in PANEL
        if kind != "repair" and (name := st.session_state.get(_key(kind)) or NONE) != NONE
    ]
    chosen += [one for one in methods("repair") if st.session_state.get(_key("repair", one.name))]
    steps = []
    for one in sorted(chosen, key=lambda one: one.rank):
        keys = {param.name: (param, _key(one.kind, one.name, param.name)) for param in one.parameters}
        values = {
            name: stored(param, st.session_state[key])
            for name, (param, key) in keys.items()
            if key in st.session_state
        }
        steps.append(Step.of(one.kind, one.name, values, _own(one, before)))
    return Recipe(_with_trainings(steps, before), before.seed).simplified()


def _with_trainings(steps: list[Step], before: Recipe) -> tuple[Step, ...]:
    found = [step for step in steps if not step.is_identity]
    for place, step in enumerate(before.simplified().steps):
        if step.kind == "train" and tuple(found[:place]) == before.simplified().steps[:place]:
            found.insert(place, step)
    return tuple(found)


def _own(one: Method, before: Recipe) -> dict[str, dict[str, Value]]:
    """What single layers had of their own in a step of this kind, as far as this method has the same parameters."""
    found = next((step.own for step in before.steps if step.kind == one.kind), {})
    kept = {layer: {p.name: own[p.name] for p in one.by_layer if p.name in own} for layer, own in found.items()}
    return {
        layer: own
        for layer, own in kept.items()
        if own and all(not p.choices or own.get(p.name, p.choices[0]) in p.choices for p in one.by_layer)
    }


def panel(changed: Callable[[], None], task: TaskKind, model: ModelHandle | None) -> None:
    """Draw the controls of every method that suits the task; what has nothing to do for the model says why.

    `changed` is called, before the next run, when a person moves one.
    """
    for kind, title in PANEL:
        title = NUMBERS_TITLE if kind == "calibrate" and task == "regression" else title
        found = methods(kind, task)
        with st.container(key=f"panel-{kind}", gap="small"):
            st.html(f"<h3 class='t-group'>{title}</h3>")
            if kind == "repair":
                _switches(found, changed, model)
            else:
                _sliders_first(kind, title, found, changed)


def _switches(found: tuple[Method, ...], changed: Callable[[], None], model: ModelHandle | None) -> None:
    """One switch a method, in the order in which they are applied."""
    for one in sorted(found, key=lambda one: one.rank):
        where = f"Applied after the {one.after} step." if one.after else ""
        key, why = _key("repair", one.name), one.why_not(model) if model else ""
        hint = f"{why or f'{one.summary} {where}'} ({one.reference})"
        st.toggle(one.title, key=key, help=hint, on_change=changed, disabled=bool(why) and not st.session_state[key])


def _sliders_first(kind: Kind, title: str, found: tuple[Method, ...], changed: Callable[[], None]) -> None:
    """The sliders of the chosen method, then the method itself, then its pickers."""
    options = ([] if any(one.neutral for one in found) else [NONE]) + [one.name for one in found]
    name = st.session_state[_key(kind)]
    chosen = method(kind, name) if name != NONE else None
    sliders = [p for p in chosen.parameters if p.neutral is not None] if chosen else []
    idle = bool(sliders) and all(_value(kind, name, p) == p.neutral for p in sliders)
    for param in sliders:
        control(param, _key(kind, name, param.name), changed)
    if len(options) > 1:
        titles = {one.name: one.title for one in found}
        st.selectbox(
            f"{title}: method",
            options,
            key=_key(kind),
            format_func=lambda option: titles.get(option, "None"),
            help="\n\n".join(f"**{one.title}.** {one.summary} ({one.reference})" for one in found),
            on_change=changed,
            label_visibility="collapsed",
        )
    for param in chosen.parameters if chosen else ():
        if param in sliders or len(param.choices) == 1 or not _matters(kind, name, param):
            continue
        control(param, _key(kind, name, param.name), changed, disabled=IDLE.get(kind, "") if idle else "")


def _value(kind: str, name: str, param: Param) -> Value:
    return stored(param, st.session_state[_key(kind, name, param.name)])


def _matters(kind: str, name: str, param: Param) -> bool:
    if param.shown_when is None:
        return True
    other, wanted = param.shown_when
    return st.session_state.get(_key(kind, name, other)) == wanted


def control(param: Param, key: str, changed: Callable[[], None], disabled: str = "") -> None:
    """Draw one parameter's slider or picker; its value is in the session's state, as `shown` gives it.

    `disabled` says why it cannot be moved.
    """
    label = f"{param.title} ({'%' if param.unit == 'fraction' else param.unit})" if param.unit else param.title
    hint = f"{param.help} {disabled}".strip()
    off = bool(disabled)
    if param.longest:
        st.text_input(label, key=key, max_chars=param.longest, help=hint, on_change=changed, disabled=off)
        return
    if not param.choices:
        low, high, step = _bounds(param)
        st.slider(label, low, high, step=step, key=key, help=hint, on_change=changed, disabled=off)
        return
    labels: Mapping[Value, str] = {choice: param.label(choice) for choice in param.choices}
    if all(isinstance(choice, int | float) for choice in param.choices):
        options = list(param.choices)
        st.select_slider(label, options, key=key, help=hint, on_change=changed, disabled=off, format_func=str)
    else:
        st.segmented_control(
            label,
            list(param.choices),
            key=key,
            help=hint,
            format_func=lambda choice: labels[choice],
            on_change=changed,
            disabled=off,
            required=True,
            width="stretch",
        )


def _bounds(param: Param) -> tuple[float, float, float] | tuple[int, int, int]:
    low, high, step = float(param.low or 0), float(param.high or 0), float(param.step or 0.01)
    if param.unit == "fraction":
        return round(100 * low), round(100 * high), round(100 * step)
    if isinstance(param.default, int):
        return round(low), round(high), max(round(step), 1)
    return low, high, step
