"""The comparison with other libraries: bytes by the ledger's rule, honest choices, words that follow the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe

from benchmarks.quality import made, ours, torch_prune
from benchmarks.quality.compared import Compared, Judged, compared
from benchmarks.quality.made import Made, Missing, Variant, kept
from benchmarks.quality.report import libraries, section, sentence, table, tally, verdict
from benchmarks.quality.rows import ROWS, Row
from benchmarks.quality.sized import Stored, packed_bytes
from benchmarks.quality.subject import Subject
from core.data.handle import load_split
from core.deploy.pack import ledger
from core.engine.network import Network
from core.engine.transform import transform
from core.models.samples import load_sample

BY_ID = {row.id: row for row in ROWS}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "FOLDER", tmp_path)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.of("credit-default")


def bytes_by_rule(network: Network) -> int:
    """The rule of the comparison, applied to a network of ours."""
    weights = []
    for name in network.weight_names:
        tensor, grid = network.tensors[name], network.grids.get(name)
        if grid is None:
            weights.append(Stored((tensor != 0).numpy()))
        else:
            zeros = 0 if grid.symmetric else grid.zero_point.numel()
            weights.append(Stored((tensor != 0).numpy(), grid.bits, grid.scale.numel(), zeros))
    other = sum(tensor.numel() for name, tensor in network.tensors.items() if name not in network.weight_names)
    return packed_bytes(weights, other, len(network.activations))


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (prune(0.5),),
        (prune(0.97, "magnitude-layer"),),  # so sparse that gaps are smaller than a mask
        (quantize(3, 8),),
        (prune(0.8), quantize(4, 32, scheme="affine")),
    ],
)
def test_bytes_follow_the_ledger(steps):
    network, _ = transform(*load_sample("fashion-small"), recipe(*steps))
    assert bytes_by_rule(network) == ledger(network).packed


def test_a_pruned_module_takes_what_ours_takes(subject):
    row = BY_ID["sparse-80"]
    module = torch_prune.pruned(subject, row, "l1, whole network")
    network, _ = transform(subject.model, subject.data, recipe(prune(0.8)))
    offer = next(o for o in torch_prune.offers(row, subject) if o.name == "l1, whole network")
    state = module.state_dict()
    assert all(torch.equal(state[name], network.tensors[name]) for name in network.weight_names)
    assert offer.make().bytes == ledger(network).packed


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_recipe_is_valid_and_does_what_its_row_asks(row):
    listed = ours.recipes(row)
    assert len(listed) > 1 and len(set(listed)) == len(listed)
    for one in listed:
        bits = [(s.values["weight_bits"], s.values["activation_bits"]) for s in one.steps if s.kind == "quantize"]
        shares = [s.values["sparsity"] for s in one.steps if s.kind == "prune"]
        assert bits == ([(row.weight_bits, row.activation_bits)] if row.rounds else [])
        assert len(shares) == row.prunes
        assert all(share >= max(row.sparsity, row.channels) for share in shares)
        assert row.repaired or not row.prunes or row.rounds or all(s.kind == "prune" for s in one.steps)
        assert ours.told(one)


def test_a_rounding_takes_part_once_the_quantizer_has_it():
    assert all(ours._known(rounding) for rounding in ours.ROUNDINGS if {*rounding} <= {"scheme", "range", "rounding"})
    assert not ours._known({"rounding": "never"}) and not ours._known({"shade": 1})


def test_the_choice_is_made_on_the_calibration_split_within_the_bytes(subject, monkeypatch):
    row, data = BY_ID["W4"], subject.data
    listed, seen = ours.fitting(row, subject), []
    right = np.zeros((data.split("calibration").n, 2), np.float32)
    labels = load_split(data, "calibration").y
    right[np.arange(len(labels)), labels] = 1.0
    # the second is perfect and too large, the third perfect, the fourth as right and surer, all others wrong
    table = {listed[1]: Made(9 * right, 2_000), listed[2]: Made(right, 900), listed[3]: Made(3 * right, 900)}

    def scored(one, of):
        seen.append(one)
        return table.get(one, Made(-right, 900))

    monkeypatch.setattr(ours, "scored", scored)
    monkeypatch.setattr(ours, "judged", lambda *_: pytest.fail("the evaluation split was looked at"))
    assert ours.choose(row, subject, 1_000) == listed[3]
    assert set(seen) == set(listed)
    assert ours.choose(row, subject, 2_000) == listed[1]


def test_a_row_that_was_made_is_not_made_again(monkeypatch):
    calls = []

    def make() -> Made:
        calls.append(1)
        return Made(np.ones((3, 2), np.float32), 7, False, "note")

    first, second = kept("torch_prune", ["a"], make), kept("torch_prune", ["a"], make)
    assert len(calls) == 1 and second.note == "note" and not second.whole
    assert first.bytes == second.bytes and np.array_equal(first.logits, second.logits)
    kept("torch_prune", ["b"], make)
    made._code.cache_clear()
    monkeypatch.setattr(made, "versions", lambda: {"torch": "another"})
    kept("torch_prune", ["a"], make)
    made._code.cache_clear()
    assert len(calls) == 3


def test_a_row_from_end_to_end(subject, monkeypatch):
    monkeypatch.setattr(ours, "recipes", lambda row: (recipe(prune(0.5)), recipe(prune(0.5, "magnitude-layer"))))

    def broken() -> Made:
        raise ValueError("no kernel")

    def offers(row: Row, of: Subject):
        partly = Variant("other", "partly", "leaving a layer", lambda: replace(full.make(), whole=False, note="one"))
        full = torch_prune.offers(row, of)[0]
        return [full, partly, Variant("third", "broken", "nothing", broken), Missing("fourth", "cannot")]

    found = compared(BY_ID["sparse-50"], subject, {"torch_prune": offers})
    assert found.best.library == torch_prune.LIBRARY and not found.peers[1].ranked
    assert [one.why for one in found.missing] == ["broken failed: no kernel", "cannot"]
    assert found.plain.value == found.best.value and found.plain.bytes == found.best.bytes
    assert found.low <= found.difference <= found.high
    assert found.difference == pytest.approx(found.chosen.value - found.best.value)


def row_of(gain: float, p: float, size: int = 100, **more) -> Compared:
    peer = Judged("Peer", "its way", "magic", 0.9, 0.02, 100, True)
    half = Judged("Half", "its way", "half", 0.99, 0.02, 500, False, "one layer in 8 bits")
    mine = replace(peer, library="Temper", value=0.9 + gain, bytes=size, how="gptq")
    given = {"difference": gain, "low": gain - 0.01, "high": gain + 0.01, "mid_p": p, **more}
    return Compared("a", "W4", (peer, half), (Missing("None", "cannot"),), mine, mine, {}, peer, **given)


def test_the_words_follow_the_numbers():
    above, chance, equal = row_of(0.02, 0.001), row_of(-0.005, 0.4, 50), row_of(0.0, 1.0, 120)
    below = row_of(-0.03, 0.001)
    assert [verdict(row) for row in (above, chance, equal, below)] == ["ours *", "Peer", "equal", "Peer *"]
    assert sentence(above, "fraction", "accuracy") == ""
    assert "20.0 % more bytes" in sentence(equal, "fraction", "accuracy")
    said = sentence(chance, "fraction", "accuracy")
    assert "90.00 %" in said and "89.50 %" in said and "-0.50 points (-1.50 to +0.50), not beyond chance" in said
    assert "50.0 % fewer bytes" in said
    assert ", beyond chance" in sentence(below, "fraction", "accuracy")
    assert tally([above, chance, equal, below]) == (
        "Of 4 rows with a peer, ours is above the best in 1 (1 beyond chance), equal in 1 and below in 2 (1 beyond "
        "chance)."
    )


def test_lower_errors_are_better():
    row = row_of(-5.0, 0.0, mid_p=None, low=-7.0, high=-3.0, higher_is_better=False)
    assert verdict(row) == "ours *" and sentence(row, "US dollars", "an RMSE of") == ""
    worse = replace(row, difference=1.0, low=-1.0, high=3.0)
    assert verdict(worse) == "Peer" and "+1.0 US dollars" in sentence(worse, "US dollars", "an RMSE of")


def test_the_tables_are_tables_and_say_who_cannot():
    rows = [row_of(0.02, 0.001), replace(row_of(0.0, 1.0), best=None, difference=None, peers=())]
    text = table(rows, "fraction", "ECE")
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert "+2.00 (+1.00 to +3.00)" in text and "no peer" in text
    beside = libraries(rows, "fraction")
    assert "cannot" in beside and "one layer in 8 bits" in beside
    assert section("a", rows, rows[0].plain, "fraction", "accuracy").startswith("## a")


def test_torchao_bytes_are_those_of_the_same_weights_of_ours(subject):
    pytest.importorskip("torchao")
    from benchmarks.quality import torchao

    row = Row("W8", "W8", 8)
    found = torchao.offers(row, subject)[0].make()
    network, _ = transform(subject.model, subject.data, recipe(quantize(8, 32)))
    assert found.whole and found.bytes == ledger(network).packed
