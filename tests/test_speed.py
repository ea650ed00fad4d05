"""Timing: turns, warm-up, quantiles and their intervals, deadlines, memory; no test asserts how fast anything is."""

from __future__ import annotations

import gc
import itertools
import json
import math
import threading

import numpy as np
import pytest
from conftest import quantize, recipe
from scipy import stats

from core.deploy.graph import assemble
from core.deploy.resident import resident
from core.deploy.speed import WARM_UP, Plan, machine, measure, measure_files, take_turns
from core.deploy.timings import Deadline, Machine, Speed, Timing, least_calls, quantile, ranks
from core.engine.lane import LANE, lane
from core.engine.network import load_network
from core.engine.runtime import threads
from core.engine.transform import transform
from core.errors import TemperError

HERE = Machine("A processor", 2, 2, (), True, "Linux", {})
TINY = Plan(threads=1, batches=(1, 4), calls=12, rounds=6, seconds=60)


class Fake:
    """A clock that only calls move, and models that take as long as they are told."""

    def __init__(self, seconds):
        self.now, self.seconds, self.events = 0.0, seconds, []

    def clock(self):
        return self.now

    def open(self, proto, cores):
        self.events.append(("open", proto, cores))
        assert LANE._holder is not None and LANE._holder.thread == threading.get_ident()

        def call(x):
            self.events.append(("call", proto, len(x)))
            self.now += next(self.seconds[proto])

        return call

    def turns(self, plan, progress=lambda _: None):
        batches = [np.zeros((size, 3), np.float32) for size in plan.batches]
        return take_turns(("a", "b"), batches, plan, progress, self.open, self.clock)


def always(seconds):
    return itertools.repeat(seconds)


def test_models_take_turns_and_who_begins_alternates():
    fake = Fake({"a": always(0.001), "b": always(0.002)})
    fake.turns(Plan(threads=1, batches=(1, 4), calls=8, rounds=4, seconds=60))
    assert [proto for kind, proto, _ in fake.events if kind == "open"] == list("abba" * 2)
    assert all(cores == 1 for kind, _, cores in fake.events if kind == "open")
    after = [fake.events[i + 1 :][0][2] for i, event in enumerate(fake.events) if event[0] == "open"]
    assert after == [1] * 8, "every turn goes through the batch sizes anew"


def test_warm_up_is_not_counted():
    first = [5.0] * WARM_UP  # were one of these counted, it would be the longest by far
    slow_then_fast = itertools.cycle([*first, 0.001, 0.001])
    fake = Fake({"a": slow_then_fast, "b": always(0.002)})
    plan = Plan(threads=1, batches=(1,), calls=12, rounds=6, seconds=3_600)
    found = {one.side: one for one in fake.turns(plan)}
    assert found["original"].longest == pytest.approx(1.0)
    assert [len(calls) for calls in found["original"].rounds] == [2] * 6
    assert sum(e[:2] == ("call", "a") for e in fake.events) == 6 * (WARM_UP + 2)


def test_a_slow_model_makes_fewer_calls_but_at_least_one_a_turn():
    plan = Plan(threads=1, batches=(1,), calls=400, rounds=10, seconds=20)  # a second a turn
    slow, slower = Fake({p: always(0.125) for p in "ab"}), Fake({p: always(7.0) for p in "ab"})
    found = slow.turns(plan)[0]
    warm = 3  # of the eight calls that a second holds: 0.3 of the time
    assert [len(calls) for calls in found.rounds] == [8 - warm] * 10
    assert slow.now == pytest.approx(20)
    assert [len(calls) for calls in slower.turns(plan)[0].rounds] == [1] * 10


def test_progress_rises_to_the_end_and_may_cancel_leaving_the_lane_free():
    fake, told = Fake({p: always(0.001) for p in "ab"}), []
    fake.turns(TINY, told.append)
    assert told == sorted(told) and told[-1] == 1 and len(told) == 2 * TINY.rounds

    def cancel(done):
        if done > 0.4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Fake({p: always(0.001) for p in "ab"}).turns(TINY, cancel)
    assert LANE._holder is None and gc.isenabled()
    taken = threading.Event()

    def take():
        with lane():
            taken.set()

    threading.Thread(target=take).start()
    assert taken.wait(10)


def test_a_call_that_fails_is_one_sentence_and_leaves_all_as_it_was():
    def broken(proto, cores):
        def call(x):
            raise RuntimeError("no room\nand a trace")

        return call

    with pytest.raises(TemperError, match=r"A batch of 1 cannot be run here: no room\."):
        take_turns(("a", "b"), [np.zeros((1, 3), np.float32)], TINY, lambda _: None, broken)
    assert LANE._holder is None and gc.isenabled()


def test_others_may_compute_between_two_turns():
    waiting, order = threading.Event(), []

    def other():
        waiting.set()
        with lane():
            order.append("other")

    other_thread = threading.Thread(target=other)

    def progress(done):
        order.append("turn")
        if len(order) == 1:
            other_thread.start()
            waiting.wait(10)
            other_thread.join(10)  # the lane is free here, or this would not end

    Fake({p: always(0.001) for p in "ab"}).turns(TINY, progress)
    assert order[:3] == ["turn", "other", "turn"]


@pytest.mark.parametrize("n", [1, 2, 7, 20, 71, 72, 100, 367, 368, 400, 1000])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_quantile_and_interval_against_scipy(n, q):
    values = np.random.default_rng(n).gamma(2, 1, n)
    found = quantile(values, q)
    assert found.value == np.quantile(values, q, method="inverted_cdf") and found.n == n
    below = stats.binom(n, q)
    tail = 0.025
    low = max((r for r in range(1, n + 1) if below.cdf(r - 1) <= tail), default=None)
    high = min((r for r in range(1, n + 1) if below.sf(r - 1) <= tail), default=None)
    if low is None or high is None:
        assert found.interval is None and str(least_calls(q)) in found.note and n < least_calls(q)
    else:
        ordered = np.sort(values)
        assert (found.interval.low, found.interval.high) == (ordered[low - 1], ordered[high - 1])
        assert found.interval.low <= found.value <= found.interval.high
        assert below.cdf(high - 1) - below.cdf(low - 1) >= 0.95


def test_the_default_plan_bounds_the_99th_percentile():
    assert [least_calls(q) for q in (0.5, 0.95, 0.99)] == [6, 72, 368]
    assert Plan().calls >= least_calls(0.99) and Plan().rounds >= least_calls(0.5) and Plan().batches == (1, 8, 32)
    assert ranks(367, 0.99) is None and ranks(368, 0.99) is not None


def test_intervals_cover_as_often_as_they_say():
    random, true = np.random.default_rng(0), -math.log(0.05)
    intervals = [quantile(random.exponential(1, 200), 0.95).interval for _ in range(2_000)]
    covered = np.mean([one.low <= true <= one.high for one in intervals])
    assert 0.94 <= covered <= 0.99  # at least 0.95 by theory; 2,000 trials have a deviation of 0.005


def speed(original, tempered, rounds=10):
    random = np.random.default_rng(1)
    mood = random.uniform(1, 3, rounds)  # of the machine, which both models feel
    sides = (("original", original), ("tempered", tempered))
    made = [
        Timing(side, 1, tuple(ms * mood[r] * random.uniform(0.99, 1.01, 40) for r in range(rounds)))
        for side, ms in sides
    ]
    return Speed(tuple(made), HERE)


def test_the_ratio_is_paired_by_round():
    ratio = speed(4.0, 2.0).ratio(1)
    assert ratio.interval.low <= 2.0 <= ratio.interval.high
    assert ratio.interval.high - ratio.interval.low < 0.1, "the rounds' own speeds, 1 to 3 times, cancel"
    assert ratio.n == 10
    assert speed(4.0, 2.0, rounds=5).ratio(1).interval is None


def test_throughput_counts_examples():
    one = Timing("original", 8, tuple(np.full(5, 4.0) for _ in range(6)))
    assert one.throughput.value == pytest.approx(2_000)
    assert one.n == 30


def test_share_in_time_has_wilsons_interval():
    one = Timing("original", 1, (np.r_[np.full(999, 10.0), 50.0],))
    share = one.within(Deadline.at_rate(30))
    wanted = stats.binomtest(999, 1_000).proportion_ci(method="wilson")
    assert share.value == 0.999 and share.n == 1_000 and one.longest == 50
    assert (share.interval.low, share.interval.high) == pytest.approx((wanted.low, wanted.high))
    assert one.within(Deadline(10.0)).value == 0.999, "a call that takes the whole time is in time"
    assert one.within(Deadline(9.99)).value == 0


def test_a_rate_is_a_deadline():
    assert Deadline.at_rate(30).milliseconds == pytest.approx(33.333, abs=1e-3)
    assert Deadline.at_rate(30).words == "at 30 frames a second" and Deadline.at_rate(1).words.endswith(
        "frame a second"
    )
    assert Deadline(5.0).words == "within 5 ms"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plan(batches=()), lambda: Plan(batches=(0,)), lambda: Plan(batches=(1, -8)),
        lambda: Plan(batches=(10**9,)), lambda: Plan(batches=(8, 8)),
        lambda: Plan(threads=0), lambda: Plan(threads=-1), lambda: Plan(threads=10**6),
        lambda: Plan(rounds=1), lambda: Plan(calls=3), lambda: Plan(calls=10**9),
        lambda: Plan(seconds=0), lambda: Plan(seconds=math.nan), lambda: Plan(seconds=math.inf),
        lambda: Deadline(-1), lambda: Deadline(0), lambda: Deadline(math.nan), lambda: Deadline(math.inf),
        lambda: Deadline.at_rate(0), lambda: Deadline.at_rate(-30), lambda: Deadline.at_rate(math.nan),
        lambda: speed(1, 1).of("original", 7),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make):
    with pytest.raises(TemperError) as caught:
        make()
    assert caught.value.message.endswith(".") and ". " not in caught.value.message


def test_measure_times_both_and_says_how(small):
    model, data = small
    told = []
    network, _ = transform(model, data, recipe(quantize(8, 8)))
    found = measure(network, data, TINY, told.append)
    assert found.batches == (1, 4) and found.machine.threads == 1
    for side in ("original", "tempered"):
        for batch in (1, 4):
            one = found.of(side, batch)
            assert one.n == 12 and (one.calls > 0).all() and len(one.rounds) == 6
            with pytest.raises(ValueError, match="read-only"):
                one.rounds[0][0] = 0
        held = found.resident[side]
        assert 10e6 < held.runtime < held.peak < 1e9
    assert told[-1] == 1 and told == sorted(told)
    said = json.loads(json.dumps(found.to_dict(Deadline.at_rate(30)), allow_nan=False))
    assert said["batches"][0]["tempered"]["in_time"]["value"] == 1
    assert said["batches"][0]["original"]["p99"]["interval"] is None, "twelve calls do not bound a 99th percentile"


@pytest.mark.parametrize(
    ("bits", "scheme", "said"),
    [
        ((4, 8), "symmetric", "in 8-bit integers, so that int8 kernels run it"),
        ((4, 8), "affine", "no integer kernel here takes affine weights"),
        ((4, 32), "symmetric", "4-bit weights"),
    ],
)
def test_a_format_without_a_kernel_is_timed_and_said(small, bits, scheme, said, monkeypatch):
    monkeypatch.setattr("core.deploy.latency.integer_kernels_exact", lambda: True)
    model, data = small
    network, _ = transform(model, data, recipe(quantize(*bits, scheme=scheme)))
    found = measure(network, data, Plan(threads=1, batches=(1,), calls=6, rounds=6))
    assert said in found.note and found.of("tempered", 1).n == 6


def test_what_is_timed_is_the_file(small, monkeypatch):
    model, data = small
    network, _ = transform(model, data, recipe(quantize(4, 32)))
    given = {}
    monkeypatch.setattr("core.deploy.speed.measure_files", lambda a, b, *rest: given.update(original=a, tempered=b))
    measure(network, data)
    assert given["tempered"] == assemble(network, compact=True) != assemble(network)
    assert given["original"] == assemble(load_network(model))


def test_inputs_beyond_memory_are_refused(small, monkeypatch):
    model, data = small
    monkeypatch.setattr("core.deploy.speed.ROOM", 1_000)
    proto = assemble(load_network(model))
    with pytest.raises(TemperError, match="A batch of 32"):
        measure_files(proto, proto, data)


def test_memory_is_the_models_not_this_processes(small):
    model, _ = small
    content = assemble(load_network(model)).SerializeToString()
    ballast = np.ones(400 * 2**20, np.uint8)  # would show in a figure inherited from the process that starts it
    one, many = (resident(content, (size, *model.input_shape), 1, False) for size in (1, 200_000))
    assert ballast.sum() and one.peak < ballast.nbytes
    assert many.peak - one.peak > 200_000 * 4 * math.prod(model.input_shape) * 0.9
    broken = resident(b"no model", (1, 3), 1, False)
    assert broken.peak is None and broken.note.endswith(".")


def test_the_machine_says_what_it_is():
    found = machine(1)
    assert found.processor and found.cores == threads() and set(found.versions) == {"python", "onnxruntime", "numpy"}
    assert found.integers.endswith(".")
