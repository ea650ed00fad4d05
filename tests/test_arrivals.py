"""Models on their way in: found again by key, cancelled, queued; uploads under safe names, removed afterwards."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from owned import digits, exported, linear, rows

from core import arrivals
from core.about import alternatives, warned
from core.arrivals import Arrivals, receive, safe, upload_folder
from core.asked import is_name, names_of, place_of, shape_of, whole_of
from core.errors import TemperError
from core.models.samples import own_home, own_ids, read_card, rename, titles
from core.wish import Wish

PATIENCE = 90  # seconds


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return own_home()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    place = tmp_path_factory.mktemp("pair")
    x, y = digits()
    exported(linear(), (64,), place / "digits.pt2")
    np.savez(place / "digits.npz", x=rows(x)[:600], y=y[:600])
    return str(place / "digits.pt2"), str(place / "digits.npz")


@pytest.fixture
def desk():
    made = Arrivals()
    yield made
    made.clear()


def ended(arrival):
    until = time.monotonic() + PATIENCE
    while arrival.alive:
        assert time.monotonic() < until
        time.sleep(0.05)
    return arrival


class Slow:
    """A visit that waits until it is cancelled or let go."""

    here: ClassVar[list] = []

    def __init__(self, wish, home):
        self.wish, self.cancelled, self.go = wish, False, False
        Slow.here.append(self)

    def run(self, told):
        told(0.3, "Reading slowly")
        while not (self.cancelled or self.go):
            time.sleep(0.01)
        if self.cancelled:
            raise TemperError("Loading was cancelled; nothing was kept.")
        return "slow"

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def slow(monkeypatch):
    Slow.here = []
    monkeypatch.setattr(arrivals, "Visit", Slow)


def until(what):
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_pair_comes_in_and_its_uploads_go(home, desk, pair):
    folder = upload_folder(home)
    with Path(pair[0]).open("rb") as model, Path(pair[1]).open("rb") as data:
        wish = Wish(str(receive(folder, "model", "my net.pt2", model)), str(receive(folder, "data", "d.npz", data)))
    arrival = desk.begin(wish, home, folder)
    assert desk.find(arrival.key) is arrival
    ended(arrival)
    assert (arrival.state, arrival.error) == ("done", None)
    assert own_ids() == (arrival.id,), "the uploads' folder is no model"
    assert read_card(arrival.id)["added"]["model"] == "my_net.pt2"
    assert folder.exists(), "kept for another try with another normalisation"
    desk.forget(arrival.key)
    assert not folder.exists()
    assert desk.find(arrival.key) is None


def test_a_bad_file_is_one_sentence(home, desk, pair, tmp_path):
    wrong = tmp_path / "net.pt2"
    wrong.write_bytes(b"PK\x03\x04 and then nothing")
    arrival = ended(desk.begin(Wish(str(wrong), pair[1]), home))
    assert arrival.state == "failed"
    assert arrival.error.message.endswith(".") and "\n" not in arrival.error.message
    assert own_ids() == ()


def test_cancelling_ends_it_and_removes_the_uploads(home, desk, slow):
    folder = upload_folder(home)
    arrival = desk.begin(Wish("m", "d"), home, folder)
    until(lambda: arrival.state == "running")
    desk.cancel(arrival.key)
    ended(arrival)
    assert arrival.state == "cancelled"
    until(lambda: not folder.exists())


def test_what_waits_says_so_goes_on_and_can_be_cancelled(home, desk, slow):
    first, second, third, fourth = (desk.begin(Wish(f"m{i}", "d"), home) for i in range(4))
    until(lambda: [a.state for a in (first, second)] == ["running"] * 2)
    assert (third.state, fourth.state) == ("waiting", "waiting")
    assert "Waiting" in third.what
    desk.cancel(fourth.key)
    assert ended(fourth).state == "cancelled"
    Slow.here[0].go = True
    until(lambda: third.state == "running")
    assert ended(first).id == "slow"


def test_old_ends_are_forgotten_but_none_on_its_way(home, desk, slow, monkeypatch):
    monkeypatch.setattr(arrivals, "KEPT", 2)
    going = desk.begin(Wish("m", "d"), home)
    done = []
    for i in range(4):
        done.append(desk.begin(Wish(f"m{i}", "d"), home))
        Slow.here[-1].go = True
        ended(done[-1])
    assert desk.find(going.key) is going
    assert desk.find(done[0].key) is None
    assert desk.find(done[-1].key) is done[-1]


def test_a_fault_of_ours_is_a_sentence(home, desk, monkeypatch):
    class Broken(Slow):
        def run(self, told):
            raise ZeroDivisionError

    monkeypatch.setattr(arrivals, "Visit", Broken)
    assert (
        "fault of its own while loading (ZeroDivisionError)" in ended(desk.begin(Wish("m", "d"), home)).error.message
    )


def test_another_order_of_classes_is_offered_and_taken(home, desk, tmp_path):
    """Names sort otherwise than the outputs stand: the check says so, and the offer puts it right."""
    from owned import NAMES

    x, y = digits()
    exported(linear(), (64,), tmp_path / "digits.pt2")
    lines = [",".join([*(f"p{i}" for i in range(64)), "label"])]
    lines += [",".join([*(f"{v:.4f}" for v in row), NAMES[k]]) for row, k in zip(rows(x), y, strict=True)]
    (tmp_path / "digits.csv").write_text("\n".join(lines))
    folder = upload_folder(home)
    first = ended(desk.begin(Wish(str(tmp_path / "digits.pt2"), str(tmp_path / "digits.csv")), home, folder))
    card = read_card(first.id)
    (offer,) = alternatives(card)
    assert warned(card) == 1
    assert offer.change == {"classes": NAMES}
    assert offer.accuracy > 0.9
    second = desk.again(first, offer.change)
    assert (first.uploads, second.uploads, second.replaces) == (None, folder, first.id)
    card = read_card(ended(second).id)
    assert warned(card) == 0
    assert alternatives(card) == ()


def test_a_wrong_normalisation_asked_for_is_tested_against_the_usual_ones(home, desk, pair):
    wrong = f"{','.join(['30', '-30'] * 32)};{','.join(['1'] * 64)}"
    arrival = ended(desk.begin(Wish(*pair, normalise=wrong), home))
    offers = [offer.change for offer in alternatives(read_card(arrival.id))]
    assert {"normalise": "as-is"} in offers or {"normalise": "standard"} in offers


@pytest.mark.parametrize(
    ("given", "safely"),
    [
        ("model.pt2", "model.pt2"),
        ("../../etc/passwd", "passwd"),
        ("C:\\models\\my net.onnx", "my_net.onnx"),
        (".hidden", "hidden"),
        ("...", "file"),
        ("", "file"),
        ("net\n\x00ä.pt", "net_.pt"),
        ("a" * 300 + ".safetensors", "a" * 68 + ".safetensors"),
    ],
)
def test_upload_names_are_made_safe(given, safely):
    assert safe(given) == safely


def test_uploads_left_behind_are_swept_away(home):
    left = upload_folder(home)
    receive(left, "model", "m.pt", io.BytesIO(b"x" * 10))
    os.utime(left, (0, 0))
    fresh = upload_folder(home)
    assert not left.exists()
    assert fresh.exists()


def test_what_is_typed():
    assert shape_of("3,224,224") == shape_of("3 x 224 x 224") == shape_of("(3, 224, 224)") == (3, 224, 224)
    assert shape_of(" ") is None and shape_of("30") == (30,)
    for wrong in ("3,224", "a", "0", "-1,2,3"):
        with pytest.raises(TemperError, match="written as"):
            shape_of(wrong)
    assert names_of("a, b c,") == ("a", "b c") and names_of("a,b\nc") == ("a,b", "c") and names_of(" ") is None
    assert whole_of("", "It") is None and whole_of(" 256 ", "It") == 256
    with pytest.raises(TemperError, match="whole number"):
        whole_of("²", "It")
    assert is_name("torchvision:resnet18") and not is_name("/a:b") and not is_name("C:\\x")
    assert place_of("timm:resnet18") == "timm:resnet18"
    assert place_of('"~/x"') == str(Path("~/x").expanduser()) and place_of("") == ""


def test_a_title_can_be_changed(home, desk, pair):
    arrival = ended(desk.begin(Wish(*pair), home))
    rename(arrival.id, "  My   net ")
    assert read_card(arrival.id)["title"] == "My net"
    for name, title in ((arrival.id, "  "), ("fashion-small", "Mine")):
        with pytest.raises(TemperError):
            rename(name, title)
    assert read_card("fashion-small")["title"] == "Fashion Small"
    assert titles()[arrival.id] == "My net"
    rename(arrival.id, "Fashion Small")
    assert titles()[arrival.id] == f"Fashion Small · {arrival.id[-6:]}", "two of one name are told apart"
