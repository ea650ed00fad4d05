"""How fast, and in time? Measured on this machine for original and tempered in turn; estimates for others, marked."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.deploy.devices import DEVICES, Device, estimate, own_device, work
from core.deploy.speed import Plan, measure
from core.deploy.timings import SIDES, Deadline, Speed
from core.engine.lane import working
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.engine.runtime import threads
from core.engine.transform import transform
from core.figures import words
from core.figures.deadline import deadline_chart
from core.figures.speed import speed_chart
from ui import show
from ui.frame import guarded, mode
from ui.work import Point, Ticker, visitor

ASKED = "speed-asked"  # session key: what is to be measured at this drawing
THREADS = "speed-threads"
RATE = "speed-rate"


def section(found: Point) -> None:
    """Draw the section."""
    network, _ = transform(found.model, found.data, found.recipe)
    show.heading("How fast, and in time?")
    cores = threads()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        used = st.segmented_control(
            "Threads", sorted({1, min(2, cores), cores}), default=cores, key=THREADS, required=True,
            persist_state="session",
        )  # fmt: skip
        rate = st.number_input(
            "Deadline: frames a second", 0.1, 100_000.0, 30.0, 5.0, key=RATE, width=200, format="%g",
            help="A call is in time if it ends before the next frame comes.", persist_state="session",
        )  # fmt: skip
        key = ("speed", network.identity, found.data.fingerprint, used)
        kept: Speed | None = RESULTS.get(key)
        label = "Measure again" if kept else "Measure"
        st.button(label, icon=":material/timer:", key="speed-measure", on_click=_ask, args=(True,))
        st.button(
            "Stop timing", icon=":material/stop:", key="speed-cancel", on_click=_ask, args=(False,),
            disabled=not st.session_state.get(ASKED),
        )  # fmt: skip
    slot = st.empty()
    with guarded():
        if st.session_state.get(ASKED):
            with working(visitor()):
                made = measure(network, found.data, Plan(threads=used), Ticker(slot, "Timing both in turn"))
            RESULTS.put(key, made, 100_000)
            st.session_state[ASKED] = False
            st.rerun()
        if kept is None:
            slot.html(
                "<p class='t-small'>Original and tempered take turns, each alone, with all else that Temper does "
                "standing still: medians, tails, throughput, memory and the share of calls in time. About half a "
                "minute.</p>"
            )
        else:
            _measured(kept, Deadline.at_rate(rate))
        _elsewhere(network)


def latest(found: Point) -> Speed | None:
    """The last measurement of this point, with the threads that are chosen."""
    network, _ = transform(found.model, found.data, found.recipe)
    used = st.session_state.get(THREADS) or threads()
    kept: Speed | None = RESULTS.get(("speed", network.identity, found.data.fingerprint, used))
    return kept


def _ask(wanted: bool) -> None:
    st.session_state[ASKED] = wanted


def _measured(speed: Speed, deadline: Deadline) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        show.chart(speed_chart(speed, mode=mode()), "Milliseconds a call", "speed")
    with right:
        show.chart(deadline_chart(speed, deadline, mode=mode()), "In time", "deadline")
    held = []
    for side in SIDES:
        one = speed.resident.get(side)
        if one is not None and one.peak:
            held.append(f"{side} {words.size(one.peak)}, of which the bare runtime {words.size(one.runtime or 0)}")
    if held:
        show.small(f"Memory at its peak, each in a process of its own: {'; '.join(held)}.")
    machine = speed.machine
    show.small(f"{machine.processor}, {machine.threads} of {machine.cores} cores. {machine.integers}")
    if speed.note:
        show.caption(speed.note)


def _elsewhere(network: Network) -> None:
    """Estimates for devices that are not here, from their makers' figures."""
    with st.expander("Other devices: estimates from a roofline, not measurements", key="speed-elsewhere"):
        st.html(
            "<p class='t-small'>Each layer takes at least the longer of its arithmetic at the device's peak and its "
            "bytes at the device's bandwidth (roofline: Williams et al. 2009); real calls take longer.</p>"
        )
        given = st.columns(4, gap="small")
        fields = (
            ("float32, 10⁹ operations a second", 0.0), ("int8, 10⁹ operations a second", 0.0),
            ("Memory, GB a second", 0.0), ("Overhead, µs a layer", 0.0),
        )  # fmt: skip
        own = [
            column.number_input(title, 0.0, 1e9, value, key=f"device-{place}", persist_state="session")
            for place, (column, (title, value)) in enumerate(zip(given, fields, strict=True))
        ]
        devices: list[Device] = list(DEVICES)
        if all(own[:3]):
            devices.append(own_device(1e9 * own[0], 1e9 * own[1], 1e9 * own[2], 1e-6 * own[3], "Your own figures"))
        else:
            show.small("Give the first three to add a device of your own.")
        both = {"original": work(load_network(network.model)), "tempered": work(network)}
        rows = []
        for device in devices:
            found = {side: estimate(parts, device) for side, parts in both.items()}
            rows.append(
                {
                    "Device": device.title,
                    "Original, ms at least": found["original"].value,
                    "Tempered, ms at least": found["tempered"].value,
                    "How": "estimated",
                    "What limits it": found["tempered"].note,
                    "Inputs": f"{device.float32 / 1e9:,.0f} / {device.int8 / 1e9:,.0f} x 10⁹ operations/s, "
                    f"{device.bandwidth / 1e9:,.0f} GB/s. {device.derived}",
                    "Source": device.source,
                }
            )
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, alt="Table of: estimated milliseconds on other devices",
            column_config={
                name: st.column_config.NumberColumn(format="%.3g")
                for name in ("Original, ms at least", "Tempered, ms at least")
            },
        )  # fmt: skip
        show.caption(_words(rows))


def _words(rows: list[dict[str, object]]) -> str:
    first = rows[0]
    return (
        f"On a {first['Device']} one example takes at least {float(str(first['Tempered, ms at least'])):.3g} ms "
        f"(original: {float(str(first['Original, ms at least'])):.3g} ms), if the estimate's inputs hold."
    )
