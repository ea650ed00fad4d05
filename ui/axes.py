"""Choose the two parameters of a grid and the values each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.errors import TemperError
from core.recipe import Recipe
from core.registry import STEP_KINDS, Method, Param, Value, methods
from core.sweeps.plan import Axis, axis_from_text, axis_of

STEPS = (5, 7, 10, 13, 19)  # values a numeric parameter takes; 10 of 0 to 90 % are tens


@dataclass(frozen=True)
class Choice:
    """A parameter one can vary, and its method."""

    owner: Method
    param: Param

    @property
    def name(self) -> str:
        """The name a grid is written with."""
        return f"{self.owner.name}.{self.param.name}"

    @property
    def title(self) -> str:
        """The parameter and its method for people."""
        return f"{self.param.title} · {self.owner.title}"


def choices() -> dict[str, Choice]:
    """Every parameter of every step, by name."""
    found = [Choice(m, p) for kind in STEP_KINDS for m in methods(kind) for p in m.parameters]
    return {c.name: c for c in found if len(c.param.choices) != 1}


def read(base: Recipe, text: str) -> tuple[Axis, ...]:
    """The axes that a link or the page's state names. Raises `TemperError`."""
    return tuple(axis_from_text(base, part) for part in text.split(";") if part.strip())


def written(axes: tuple[Axis, ...]) -> str:
    """The axes as a link holds them."""

    def text(value: Value) -> str:
        return f"{value:.10g}" if isinstance(value, float) else str(value)

    return ";".join(f"{axis.method}.{axis.name}={','.join(map(text, axis.values))}" for axis in axes)


def pickers(base: Recipe, axes: tuple[Axis, ...], changed: Any) -> None:
    """Draw both axes' controls; `changed` receives the new axes' text when a person moved one."""
    offered = choices()
    for place, title in ((1, "Across"), (0, "Down")):
        axis = axes[place]
        name = f"{axis.method}.{axis.name}"
        with st.container(key=f"panel-axis-{place}", gap="small"):
            st.html(f"<h3 class='t-group'>{title}</h3>")
            key = f"axis-{place}"
            st.session_state[key] = name
            st.selectbox(
                f"{title}: parameter",
                list(offered),
                key=key,
                format_func=lambda n: offered[n].title,
                label_visibility="collapsed",
                on_change=_other,
                args=(base, axes, place, changed),
            )
            _values(base, axes, place, offered[name].param, changed)


def _other(base: Recipe, axes: tuple[Axis, ...], place: int, changed: Any) -> None:
    """Another parameter was chosen: it takes its usual values."""
    chosen = choices()[st.session_state[f"axis-{place}"]]
    _set(axes, place, axis_of(base, chosen.name, usual(chosen.param)), changed)


def usual(param: Param) -> list[Value]:
    """The values a parameter takes at first: every choice, or its range in even steps."""
    if param.choices:
        return list(reversed(param.choices)) if isinstance(param.choices[0], int) else list(param.choices)
    low, high = float(param.low or 0), float(param.high or 0)
    if param.unit == "fraction" and high > 0.9 >= low:
        high = 0.9
    return spaced(param, low, high, 10)


def spaced(param: Param, low: float, high: float, count: int) -> list[Value]:
    """Evenly spaced values on the parameter's own steps, without repeats."""
    step = float(param.step or 0.01)
    found = [low + round(i * (high - low) / (count - 1) / step) * step for i in range(count)]
    values = [min(round(value, 10), high) for value in found]
    whole = isinstance(param.default, int) and not isinstance(param.default, bool)
    return list(dict.fromkeys(int(v) if whole else v for v in values))


def _values(base: Recipe, axes: tuple[Axis, ...], place: int, param: Param, changed: Any) -> None:
    axis = axes[place]
    if param.choices:
        key = f"axis-{place}-{axis.name}-choices"
        st.session_state[key] = list(axis.values)
        st.pills(
            f"Values of {param.title}",
            sorted(param.choices) if isinstance(param.choices[0], int) else list(param.choices),
            selection_mode="multi",
            key=key,
            format_func=lambda v: param.label(v),
            label_visibility="collapsed",
            on_change=_chosen,
            args=(base, axes, place, key, changed),
        )
        return
    scale = 100 if param.unit == "fraction" else 1
    unit = " (%)" if scale == 100 else f" ({param.unit})" if param.unit else ""
    key, steps = f"axis-{place}-{axis.name}-range", f"axis-{place}-{axis.name}-steps"
    ends = (float(min(axis.values)) * scale, float(max(axis.values)) * scale)  # type: ignore[arg-type, type-var]
    st.session_state[key] = tuple(round(end, 6) for end in ends)
    st.session_state[steps] = len(axis.values)
    low, high, step = (float(part or 0) * scale for part in (param.low, param.high, param.step))
    st.slider(
        f"From, to{unit}", low, high, step=step or 0.01, key=key, format="%g",
        on_change=_ranged, args=(base, axes, place, key, steps, scale, changed),
    )  # fmt: skip
    st.segmented_control(
        "Values", sorted({*STEPS, len(axis.values)}), key=steps, required=True,
        on_change=_ranged, args=(base, axes, place, key, steps, scale, changed),
    )  # fmt: skip


def _chosen(base: Recipe, axes: tuple[Axis, ...], place: int, key: str, changed: Any) -> None:
    param, picked = axes[place].parameter, st.session_state[key]
    ordered = [value for value in usual(param) if value in picked]
    if ordered:  # the last value stays: a grid without one is nothing
        _set(axes, place, axis_of(base, f"{axes[place].method}.{param.name}", ordered), changed)


def _ranged(base: Recipe, axes: tuple[Axis, ...], place: int, key: str, steps: str, scale: int, changed: Any) -> None:
    param = axes[place].parameter
    low, high = (round(end / scale, 10) for end in st.session_state[key])
    values = spaced(param, low, high, int(st.session_state[steps])) if high > low else [low]
    _set(axes, place, axis_of(base, f"{axes[place].method}.{param.name}", values), changed)


def _set(axes: tuple[Axis, ...], place: int, axis: Axis, changed: Any) -> None:
    other = axes[1 - place]
    if (axis.method, axis.name) == (other.method, other.name):  # the same parameter twice: they change places
        both = (axes[1], axes[0])
    else:
        both = (axis, other) if place == 0 else (other, axis)
    changed(written(both))


def check(axes: tuple[Axis, ...]) -> None:
    """Raise `TemperError` unless there are two axes to draw."""
    if len(axes) != 2:
        raise TemperError(f"This page draws two parameters; the link names {len(axes)}.", "Use the command line.")
