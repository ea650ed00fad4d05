"""The compute lane: who goes first, who gives way, and that nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager

import pytest

from core.engine import lane as module
from core.engine.lane import Lane, Priority, working

LONG = 60.0  # seconds, against hanging only


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def impatient(monkeypatch):
    """Every rest ends the slice."""
    monkeypatch.setattr(module, "SLICE", -1.0)


class Door:
    """A gate that keeps its state and says what it was asked."""

    def __init__(self, fault: type[BaseException] | None = None):
        self.is_open, self.fault = None, fault

    def close(self):
        self.is_open = False
        if self.fault:
            raise self.fault

    def open(self):
        self.is_open = True


def started(call, *arguments) -> threading.Thread:
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads), "still waiting for the lane"


def until(ready) -> None:
    """Wait for another thread to get somewhere."""
    pause = threading.Event()
    for _ in range(int(LONG / 0.002)):
        if ready():
            return
        pause.wait(0.002)
    pytest.fail("the other thread never got there")


@contextmanager
def queue(lane: Lane, *works: tuple[str, Priority], rests: int = 0):
    """The lane held while others line up, in this order; the list gets an entry whenever one of them computes."""
    turns: list[str] = []

    def compute(owner: str, priority: Priority) -> None:
        with working(owner, priority), lane.hold():
            turns.append(owner)
            for _ in range(rests):
                lane.rest()
                turns.append(owner)

    threads = []
    with working("holder", Priority.PERSON), lane.hold():
        for place, work in enumerate(works):
            threads.append(started(compute, *work))
            until(lambda wanted=place + 1: len(lane._waiting) == wanted)
        yield turns
    joined(*threads)


def test_the_most_urgent_goes_first(lane):
    works = [("i", Priority.IDLE), ("s", Priority.SWEEP), ("p", Priority.PERSON), ("j", Priority.IDLE)]
    with queue(lane, *works) as turns:
        assert turns == []
    assert turns == ["p", "s", "i", "j"]


def test_as_urgent_ones_go_in_order(lane):
    with queue(lane, *[(str(i), Priority.PERSON) for i in range(5)]) as turns:
        pass
    assert turns == list("01234")


@pytest.mark.parametrize("less", [Priority.SWEEP, Priority.IDLE])
def test_a_person_waits_for_one_rest_at_most(lane, less):
    """Also within the slice of the less urgent work."""
    chunks: list[str] = []
    person_waits, go_on = threading.Event(), threading.Event()

    def background():
        with working("sweep", less), lane.hold():
            for _ in range(3):
                chunks.append("sweep")
                person_waits.set()
                assert go_on.wait(LONG)
                lane.rest()

    def person():
        assert person_waits.wait(LONG)
        with working("visitor"), lane.hold():
            chunks.append("person")
            lane.rest()
            chunks.append("person")

    threads = started(background), started(person)
    until(lambda: len(lane._waiting) == 1)
    go_on.set()
    joined(*threads)
    assert chunks == ["sweep", "person", "person", "sweep", "sweep"]


def test_less_urgent_work_does_not_interrupt(lane, impatient):
    seen = []
    with queue(lane, ("sweep", Priority.SWEEP), ("ahead", Priority.IDLE)) as turns:
        for _ in range(5):
            lane.rest()
            seen += turns
    assert seen == []
    assert turns == ["sweep", "ahead"]


def test_within_a_slice_nobody_as_urgent_interrupts(lane, monkeypatch):
    monkeypatch.setattr(module, "SLICE", 1e9)
    with queue(lane, ("a", Priority.SWEEP), ("b", Priority.SWEEP), rests=3) as turns:
        pass
    assert "".join(turns) == "aaaabbbb"


@pytest.mark.parametrize("owners", ["ab", "abc"])
def test_owners_as_urgent_take_turns(lane, impatient, owners):
    with queue(lane, *[(owner, Priority.PERSON) for owner in owners], rests=6) as turns:
        pass
    assert "".join(turns[: 5 * len(owners)]) == 5 * owners
    assert sorted(turns) == sorted(7 * owners)


def test_an_owner_of_many_threads_gets_no_more_turns(lane, impatient):
    works = [("a", Priority.PERSON), ("a", Priority.PERSON), ("a", Priority.PERSON), ("b", Priority.PERSON)]
    with queue(lane, *works, rests=6) as turns:
        pass
    assert "".join(turns[:12]) == "ab" * 6


def test_whoever_was_served_longest_ago_goes_first(lane):
    for owner in "ab":
        with working(owner), lane.hold():
            pass
    with queue(lane, ("b", Priority.PERSON), ("a", Priority.PERSON)) as turns:
        pass
    assert turns == ["a", "b"]


def test_the_memory_of_owners_is_bounded(lane):
    for number in range(1_500):
        with working(f"visitor {number}"), lane.hold():
            pass
        with working("regular"), lane.hold():
            pass
    assert len(lane._served) <= 1_000
    assert "regular" in lane._served, "who comes often is not forgotten"


def test_it_is_reentrant(lane):
    with working("sweep", Priority.SWEEP), lane.hold():
        with working("person", Priority.PERSON), lane.hold():
            assert lane._holder.work.owner == "sweep"
        assert lane._holder is not None, "the outer block still holds it"
        lane.rest()
    assert lane._holder is None


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_an_exception_releases(lane, fault):
    with pytest.raises(fault), lane.hold():
        raise fault
    with queue(lane, ("next", Priority.SWEEP)) as turns:
        pass
    assert turns == ["next"]


def test_one_interrupted_while_it_waits_leaves_no_trace(lane, monkeypatch):
    """In a rest the lane is given away and waited for; what ends that wait must not take it from its new holder."""
    door, waiting = Door(), lane._changed.wait_for
    with queue(lane, ("other", Priority.PERSON)) as turns, lane.through(door):

        def interrupted(ready):
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return waiting(ready)

        until(lambda: len(lane._waiting) == 1)
        monkeypatch.setattr(lane._changed, "wait_for", interrupted)
        monkeypatch.setattr(module, "SLICE", -1.0)
        with pytest.raises(KeyboardInterrupt):
            lane.rest()
        monkeypatch.undo()
        holder = lane._holder
        assert holder is None or holder.work.owner == "other"
        assert not any(turn.work.owner == "holder" for turn in lane._waiting)
    assert turns == ["other"]
    until(lambda: lane._holder is None)
    assert not lane.busy_for_people()


def test_an_end_of_one_who_lost_the_lane_does_not_free_it(lane):
    """The same, from the side of the new holder."""
    with working("a"), lane.hold():
        turn = lane._holder
    with working("b"), lane.hold():
        lane._release(turn)
        assert lane._holder.work.owner == "b"


def test_a_rest_without_the_lane_does_nothing(lane):
    lane.rest()
    with queue(lane, ("a", Priority.PERSON)):
        joined(started(lane.rest))


# Gates


def test_gates_close_for_people_only(lane):
    door = Door()
    with lane.through(door):
        assert door.is_open
        for less in (Priority.SWEEP, Priority.IDLE):
            with working("less", less), lane.hold():
                assert door.is_open
        with working("visitor"), lane.hold():
            assert not door.is_open
            with lane.hold():
                pass
            assert not door.is_open, "an inner block does not open it"
            lane.rest()
            assert not door.is_open
        assert door.is_open
        with lane.hold():
            assert not door.is_open, "a person's by default"
        assert door.is_open
        with pytest.raises(ValueError), lane.hold():
            raise ValueError
        assert door.is_open
    with lane.hold():
        assert door.is_open, "no longer the lane's"


def test_gates_linger_and_then_open_by_themselves():
    lane, door = Lane(linger=0.05), Door()
    with lane.through(door):
        for _ in range(3):
            with lane.hold():
                pass
            assert not door.is_open, "more of the same page may follow"
        until(lambda: door.is_open)
        with working("sweep", Priority.SWEEP), lane.hold():
            assert door.is_open


def test_a_person_who_comes_while_gates_linger_finds_them_closed_to_the_end():
    lane, door, opened = Lane(linger=0.05), Door(), []
    door_opens = door.open
    door.open = lambda: (opened.append(lane.busy_for_people()), door_opens())
    with lane.through(door):
        opened.clear()
        with lane.hold():
            pass
        with lane.hold():
            time.sleep(0.12)
            assert not door.is_open
        until(lambda: door.is_open)
    assert not any(opened)


def test_gates_are_closed_while_a_person_waits(lane):
    door, go_on = Door(), threading.Event()

    def background():
        with working("sweep", Priority.SWEEP), lane.hold():
            assert go_on.wait(LONG)

    def person():
        with working("visitor"), lane.hold():
            pass

    with lane.through(door):
        threads = [started(background)]
        until(lambda: lane._holder is not None)
        assert door.is_open
        threads.append(started(person))
        until(lambda: door.is_open is False)
        go_on.set()
        joined(*threads)
        assert door.is_open


def test_gates_stay_closed_from_person_to_person(lane):
    doors, seen = [Door(), Door()], []
    with lane.through(doors[0]), lane.through(doors[1]):
        with queue(lane, *[(f"visitor {i}", Priority.PERSON) for i in range(3)], rests=2) as turns:
            opened = doors[1].open
            doors[1].open = lambda: (seen.append(len(turns)), opened())
        assert seen == [9], "once, after the last"
        assert all(door.is_open for door in doors)


def test_a_gate_added_while_a_person_computes_is_closed(lane):
    door = Door()
    with working("visitor"), lane.hold():
        with lane.through(door):
            assert door.is_open is False
        assert door.is_open, "left open behind"
    with lane.hold(), lane.through(door):
        assert door.is_open is False


def test_a_gate_that_is_left_opens_also_after_an_exception(lane):
    door = Door()
    with pytest.raises(ValueError), lane.hold(), lane.through(door):
        raise ValueError
    assert door.is_open
    assert lane._gates == []


def test_a_gate_that_fails_keeps_nobody_out(lane):
    with lane.through(Door(fault=OSError)), pytest.raises(OSError), lane.hold():
        pytest.fail("held beside an open gate")
    assert lane._holder is None
    assert lane._waiting == []


def test_a_late_opening_does_not_undo_a_closing(lane):
    """One person leaves and, before the gate is told, the next one comes."""
    door, entered, go_on = Door(), threading.Event(), threading.Event()
    opened = door.open

    def slowly():
        entered.set()
        assert go_on.wait(LONG)
        opened()

    def leaves():
        with lane.hold():
            door.open = slowly

    def comes():
        with lane.hold():
            assert first_left.wait(LONG)
            seen.append(door.is_open)

    first_left = threading.Event()
    seen: list[bool] = []
    with lane.through(door):
        first = started(leaves)
        assert entered.wait(LONG)
        second = started(comes)
        until(lambda: lane._waiting or lane._holder)
        go_on.set()
        joined(first)
        first_left.set()
        joined(second)
        assert seen == [False]
        assert door.is_open


def test_busy_for_people(lane):
    go_on = threading.Event()

    def person():
        with working("visitor"), lane.hold():
            assert go_on.wait(LONG)

    assert not lane.busy_for_people()
    with working("sweep", Priority.SWEEP), lane.hold():
        assert not lane.busy_for_people()
        waits = started(person)
        until(lane.busy_for_people)
    until(lambda: lane._holder is not None)
    assert lane.busy_for_people()
    go_on.set()
    joined(waits)
    assert not lane.busy_for_people()


def test_many_threads_never_lock_each_other_out(lane, monkeypatch):
    """Eight threads, random holds, rests, faults and gates; one at a time computes."""
    monkeypatch.setattr(module, "SLICE", 1e-5)
    inside, worst, rounds, wrong = [], [], [], []

    def alone(me: int) -> None:
        inside.append(me)
        worst.append(len(inside))
        inside.remove(me)

    def thread(me: int) -> None:
        draw = random.Random(me)
        for _ in range(60):
            priority = draw.choice(list(Priority))
            door = Door()
            try:
                with working(f"owner {me % 5}", priority), lane.hold(), lane.through(door):
                    for _ in range(draw.randrange(4)):
                        alone(me)
                        if priority == Priority.PERSON and door.is_open:
                            wrong.append(me)
                        lane.rest()
                    alone(me)
                    if draw.random() < 0.2:
                        with lane.hold():
                            raise ValueError
            except ValueError:
                pass
            rounds.append(me)

    joined(*[started(thread, me) for me in range(8)])
    assert len(rounds) == 8 * 60
    assert set(worst) == {1}
    assert wrong == []
    assert (lane._holder, lane._waiting, lane._gates, lane._closed) == (None, [], [], False)
