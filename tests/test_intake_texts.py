"""Texts of one's own: a table, a tokenizer and a network that reads ids, and every wrong trio in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import prune, quantize, recipe
from damage import sentence
from owned_more import LENGTH, WORDS, Bag, judge, priced, reviews, saved, tokenizer
from safetensors.torch import save_file
from torch import nn

from core.about import other_class, prepares, reads
from core.data.handle import load_split
from core.data.texts import MOST_BYTES, unpacked
from core.door import Visit
from core.engine.evaluate import evaluate
from core.errors import TemperError
from core.figures.texts import seen_texts
from core.intake import bring
from core.models.architectures import TextBag, TextTransformer
from core.models.ids import CAST
from core.models.intake import ModelWish, read_model
from core.models.samples import SHIPPED, load_sample, own_home, read_card
from core.wish import Wish

FRAME = reviews()
USUAL = {"label": "verdict"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    return own_home()


class Masked(nn.Module):
    """A network that wants a mask beside its ids."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = judge()

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids * attention_mask)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with networks, the table of reviews and their tokenizer."""
    folder = tmp_path_factory.mktemp("reviews")
    for suffix in (".pt2", ".onnx"):
        saved(judge(2), folder / f"whole{suffix}", (LENGTH,), whole=True)
        saved(judge(1), folder / f"logit{suffix}", (LENGTH,), whole=True)
    saved(judge(2, floats=True), folder / "floats.pt2", (LENGTH,))
    saved(judge(1, numbers=True), folder / "mark.pt2", (LENGTH,), whole=True)
    saved(priced(1), folder / "rows.pt2", (5,))
    ids, batch = torch.zeros(2, LENGTH, dtype=torch.int64), torch.export.Dim("batch")
    both = torch.export.export(Masked().eval(), (ids, ids), dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(both, folder / "masked.pt2")
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(Masked().eval(), (ids, ids), str(folder / "masked.onnx"), dynamo=False, input_names=names)
    FRAME.to_csv(folder / "reviews.csv", index=False)
    FRAME.to_parquet(folder / "reviews.parquet", index=False)
    tokenizer(folder / "tokenizer.json")
    return folder


def wish_of(place, model, data, **more) -> Wish:
    given = {**USUAL, "tokenizer": str(place / "tokenizer.json"), **more}
    return Wish(str(place / model), str(place / data), **given)


def brought(home, place, model, data="reviews.csv", **more) -> str:
    return bring(wish_of(place, model, data, **more), home, lambda _done, _what: None)


def refused(home, place, model="floats.pt2", data="reviews.csv", **more) -> str:
    with pytest.raises(TemperError) as caught:
        brought(home, place, model, data, **more)
    return str(sentence(caught.value))


def checked(card: dict) -> dict[str, dict]:
    return {check["title"]: check for check in card["checks"]}


@pytest.mark.parametrize("data", ["reviews.csv", "reviews.parquet"])
@pytest.mark.parametrize("model", ["whole.pt2", "whole.onnx", "logit.pt2", "logit.onnx", "floats.pt2"])
def test_texts_come_in(model, data, place, home):
    name = brought(home, place, model, data, groups=("site",))
    card, (handle, held) = read_card(name), load_sample(name)
    assert card["task"] == {"kind": "binary", "positive": "yes"} and card["classes"] == ["no", "yes"]
    assert card["preprocessing"]["length"] == LENGTH and (home / name / "tokenizer.json").exists()
    assert (CAST in card["notes"]) == (model != "floats.pt2")
    assert all(check["ok"] is not False for check in card["checks"]) and checked(card)["Tokenizer"]["ok"] is True
    assert "The texts are the column words." in card["notes"]
    split = load_split(held, "evaluation")
    row = FRAME[FRAME["words"] == split.x[0]].iloc[0]
    assert ("no", "yes")[split.y[0]] == row["verdict"]
    expected = [WORDS.index(word) for word in row["words"].split()]
    assert split.inputs[0].tolist() == expected + [0] * (LENGTH - len(expected))
    found = evaluate(handle, held, recipe(prune(0.3), quantize(8, 8)))
    module = judge(1 if "logit" in model else 2)
    with torch.no_grad():
        own = Bag.forward(module, torch.from_numpy(split.inputs).long()).numpy()
    z = own[:, 0] if own.shape[1] == 1 else own[:, 1] - own[:, 0]
    assert np.allclose(found.original.logits[:, 1] - found.original.logits[:, 0], z, atol=1e-3)
    assert reads(card) == f"Reads texts as up to {LENGTH} word pieces and tells 2 classes apart."
    assert "tokenizer.json" in prepares(card)[0]
    assert {group.title: group.names for group in held.groups} == {"site": ("w0", "w1", "w2")}
    (other,) = other_class(card)
    assert other.change == {"positive": "no"} and other.said == ""


def test_texts_with_numbers_come_in(place, home):
    card = read_card(brought(home, place, "mark.pt2", label="mark", text="words"))
    assert card["task"]["kind"] == "regression" and card["task"]["target"] == "mark"
    assert checked(card)["Belong together"]["ok"] is True
    assert card["data"]["modality"] == "text" and reads(card).endswith("and predicts mark.")


def test_the_pieces_are_shown_as_they_are_read(place, home):
    formula = ["=1+2 good great the film was very fine and the cast", *FRAME["words"][1:]]
    FRAME.assign(words=formula).to_csv(place / "formula.csv", index=False)
    _, data = load_sample(brought(home, place, "floats.pt2", "formula.csv"))
    every = [(name.name, load_split(data, name.name).x.tolist()) for name in data.splits]
    split, texts = next((name, found) for name, found in every if formula[0] in found)
    (seen,) = seen_texts(data, [texts.index(formula[0])], split)
    assert seen.text == formula[0], "what could be a formula is text"
    assert seen.pieces[:5] == (("=", 1), ("1", 1), ("+", 1), ("2", 1), ("good", WORDS.index("good")))
    assert len(seen.pieces) == LENGTH and seen.cut
    short = next(text for text in texts if len(text.split()) < LENGTH)
    (seen,) = seen_texts(data, [texts.index(short)], split)
    assert [piece for piece, _ in seen.pieces] == short.split() and not seen.cut


@pytest.mark.parametrize(
    "module",
    [
        TextBag(30, 8, [6], 3),
        TextBag(30, 8, [], 2),
        TextTransformer(30, 9, 8, 4, 12, 2, 3),
        TextTransformer(30, 9, 6, 1, 12, 1, 2),
    ],
    ids=["bag", "bag without layers", "transformer", "one head"],
)
def test_a_state_dict_of_texts_is_recognised(module, tmp_path):
    torch.manual_seed(0)
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    bag = isinstance(module, TextBag)
    found = read_model(str(tmp_path / "m.safetensors"), ModelWish(input_shape=(9,) if bag else None))
    assert found.architecture == ("text-bag" if bag else "text-transformer")
    assert (found.vocabulary, found.input_shape) == (30, (9,))
    assert any("heads" in note for note in found.notes) is not bag
    if bag:
        with pytest.raises(TemperError, match="Say how many pieces"):
            read_model(str(tmp_path / "m.safetensors"), ModelWish())


def test_a_sample_comes_back_as_a_persons_own(home, tmp_path):
    """The sentiment sample's own files, given as a person would: the same accuracy as its card on these examples."""
    sample = SHIPPED / "sentiment"
    with np.load(sample / "evaluation.npz") as arrays:
        texts, y = unpacked(arrays["text"], arrays["ends"]), arrays["y"]
    split = np.where(np.arange(len(y)) < 100, "val", "test")
    names = np.array(["negative", "positive"])[y]
    pd.DataFrame({"review": texts, "label": names, "split": split}).to_csv(tmp_path / "r.csv", index=False)
    files = [str(sample / "weights.safetensors"), str(tmp_path / "r.csv")]
    wish = Wish(*files, tokenizer=str(sample / "tokenizer.json"))
    name = bring(wish, home, lambda _done, _what: None)
    (own, data), (model, held) = load_sample(name), load_sample("sentiment")
    steps = recipe(quantize(8, 8))
    mine, theirs = evaluate(own, data, steps).original, evaluate(model, held, steps).original
    assert np.allclose(mine.logits, theirs.logits[100:], atol=1e-4)
    assert read_card(name)["task"] == {"kind": "binary", "positive": "positive"}


def tokenizers(place) -> dict[str, bytes]:
    fine = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    deep = {**fine, "pre_tokenizer": {"type": "Sequence", "pretokenizers": []}}
    return {
        "empty": b"",
        "not JSON": b"words",
        "another JSON": b'{"a": 1}',
        "a list": b"[1, 2]",
        "deep": b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "no UTF-8": b"\xff\xfe\x00{}",
        "a wrong type": json.dumps({**deep, "model": {"type": "Unheard", "vocab": {}}}).encode(),
        "a vocabulary of words": json.dumps({**fine, "model": {**fine["model"], "vocab": {"a": "b"}}}).encode(),
        "huge": b" " * (MOST_BYTES + 1),
    }


@pytest.mark.parametrize("case", list(range(9)))
def test_what_is_no_tokenizer_is_one_sentence(case, place, home, tmp_path):
    name, content = list(tokenizers(place).items())[case]
    (tmp_path / "tokenizer.json").write_bytes(content)
    said = refused(home, place, tokenizer=str(tmp_path / "tokenizer.json"))
    assert "tokenizer.json" in said, name


def test_a_hostile_tokenizer_ends_behind_the_door(place, home, tmp_path, monkeypatch):
    """A pattern that backtracks for ever takes the reader's time and nobody else's."""
    hostile = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    hostile["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": ""}
    (tmp_path / "tokenizer.json").write_text(json.dumps(hostile), encoding="utf-8")
    FRAME.assign(words="x" * 60 + FRAME["words"]).to_csv(tmp_path / "long.csv", index=False)
    wish = wish_of(place, "floats.pt2", tmp_path / "long.csv", tokenizer=str(tmp_path / "tokenizer.json"))
    monkeypatch.setenv("TEMPER_LOAD_SECONDS", "8")
    with pytest.raises(TemperError, match="took longer than 8 seconds and was stopped"):
        Visit(wish, home).run()
    assert not list(home.glob(".coming-*"))


MORE_WORDS = (*WORDS, "more", "words", "than", "rows")
SHUFFLED = (*WORDS[:2], *WORDS[:1:-1])
WRONG = {
    "no tokenizer": ({"tokenizer": None}, {}, "reads token ids"),
    "a missing tokenizer": ({"tokenizer": "/nowhere/tokenizer.json"}, {}, "is not there"),
    "a missing text column": ({"text": "body"}, {}, "has no text column body"),
    "numbers as texts": ({"text": "mark"}, {}, "holds numbers, not texts"),
    "the label as texts": ({"text": "verdict"}, {}, "cannot be the text column too"),
    "empty texts": ({}, {"words": ["", *FRAME["words"][1:]]}, "is empty 1 times, as in line 2"),
    "texts alike": ({"text": "words"}, {"words": "the film was good"}, "alike"),
    "a group of texts": ({"groups": ("words",)}, {}, "more than 50 different values"),
    "a missing group": ({"groups": ("region",)}, {}, "has no column region"),
    "a third class": ({}, {"verdict": np.where(FRAME.index % 7, FRAME["verdict"], "maybe")}, "tells 2 classes apart"),
    "a foreign positive": ({"positive": "good"}, {}, "The positive class is no or yes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_trio_is_one_sentence(case, place, home):
    more, columns, says = WRONG[case]
    FRAME.assign(**columns).to_csv(place / "wrong.csv", index=False)
    assert says in refused(home, place, "floats.pt2", "wrong.csv", **more)


def test_a_table_without_texts_is_one_sentence(place, home):
    FRAME.assign(words=1.5, site=2)[["words", "site", "verdict"]].to_csv(place / "plain.csv", index=False)
    assert "has no column of texts" in refused(home, place, data="plain.csv")
    FRAME[["words", "verdict"]].assign(words=1.5).to_parquet(place / "plain.parquet")
    assert "holds numbers, not texts" in refused(home, place, data="plain.parquet", text="words")


def test_a_tokenizer_of_another_vocabulary_is_seen(place, home, tmp_path):
    seen = tokenizer(tmp_path / "more.json", MORE_WORDS)
    FRAME.assign(words=FRAME["words"] + " more words").to_csv(place / "more.csv", index=False)
    said = refused(home, place, data="more.csv", tokenizer=str(seen))
    assert "gives ids up to 19 and the network knows 18: they do not belong together" in said
    card = read_card(brought(home, place, "floats.pt2", tokenizer=str(seen)))  # no such word is among the texts
    assert checked(card)["Tokenizer"]["ok"] is False
    other = read_card(brought(home, place, "floats.pt2", tokenizer=str(tokenizer(tmp_path / "s.json", SHUFFLED))))
    together = checked(other)["Belong together"]
    assert together["ok"] is False and ("tokenizer" in together["said"] or "another order" in together["said"])


@pytest.mark.parametrize("model", ["masked.pt2", "masked.onnx"])
def test_a_second_input_is_named(model, place, home):
    said = refused(home, place, model)
    assert "takes 2 inputs" in said and "attention_mask" in said


def test_what_reads_numbers_wants_no_tokenizer_and_texts_are_tables(place, home):
    assert "a tokenizer is nothing to it" in refused(home, place, "rows.pt2")
    np.savez(place / "ids.npz", x=np.zeros((8, LENGTH), np.float32), y=np.arange(8) % 2)
    assert "Texts are read from a .csv or .parquet" in refused(home, place, data="ids.npz", label=None)


def test_a_length_that_the_file_leaves_open_is_asked_for(place, home, tmp_path):
    example = torch.zeros(2, LENGTH, dtype=torch.int64)
    torch.onnx.export(
        judge(2), (example,), str(tmp_path / "open.onnx"), dynamo=False, opset_version=17, input_names=["ids"],
        dynamic_axes={"ids": {0: "batch", 1: "length"}},
    )  # fmt: skip
    said = refused(home, place, tmp_path / "open.onnx")
    assert "leaves its input's size open" in said and "--input-shape 128" in said
    card = read_card(brought(home, place, tmp_path / "open.onnx", input_shape=(7,)))
    assert card["preprocessing"]["length"] == 7 and card["input_shape"] == [7]
