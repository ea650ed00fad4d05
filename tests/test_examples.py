"""Examples shown: which values of a row are unusual, which words of a text matter, and that no text is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from core import fingerprint
from core.damage.occlusion import LETTERS, excerpts
from core.damage.unusual import NOTABLE, feature_names, most_unusual
from core.data.handle import DataHandle, Preprocessing, SplitHandle, load_split
from core.data.texts import Tokens, packed
from core.engine.memory import RESULTS
from core.engine.network import load_network
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.handle import ModelHandle
from core.models.samples import load_sample
from core.task import Task, task_of_classes
from ui import gallery
from ui.gallery import Shown

WORTH = {"good": 2.0, "fine": 1.0, "so": 0.0, "bad": -1.5, "awful": -4.0}  # what a word adds to the second class
LENGTH = 90  # tokens
HOSTILE = "good <script>alert('x')</script> & \"awful\" <img src=x onerror=y> fine"


class Sum(nn.Module):
    """The sum of the words' embeddings and nothing else: each word's part in an output is known."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(rows, freeze=False)

    def forward(self, ids: Tensor) -> Tensor:
        words = ids.long()
        return (self.words(words) * (words != 0).float().unsqueeze(-1)).sum(1)


@pytest.fixture
def bag(tmp_path):
    """A function from texts, a task and each word's outputs to a network and its data."""
    RESULTS.clear()

    def made(texts: list[str], task: Task, worth: dict[str, list[float]]):
        vocabulary = {word: k for k, word in enumerate(["[PAD]", "[UNK]", *worth])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        width = len(next(iter(worth.values())))
        rows = torch.tensor([[0.0] * width, [0.0] * width, *worth.values()])
        graph = graph_of(exported(Sum(rows).eval(), torch.zeros(2, LENGTH)))
        save_structure(graph, tmp_path / "graph.onnx")
        save_file({"words.weight": rows}, tmp_path / "weights.safetensors")
        y = np.zeros(len(texts)) if not task.decides else np.zeros(len(texts), np.int64)
        np.savez(tmp_path / "evaluation.npz", **packed(texts), y=y)
        stated = {path.name: fingerprint.of_file(path) for path in tmp_path.iterdir()}
        model = ModelHandle(
            "sum", "sum", "of this test", (), (LENGTH,), task.classes, tmp_path / "weights.safetensors",
            stated["weights.safetensors"], tmp_path / "graph.onnx", stated["graph.onnx"], own=True,
        )  # fmt: skip
        tokens = Tokens(tmp_path / "tokenizer.json", stated["tokenizer.json"], LENGTH)
        split = SplitHandle("evaluation", tmp_path / "evaluation.npz", len(texts), stated["evaluation.npz"])
        data = DataHandle("said", "said", "text", task, tokens, (split,), "none", "made here")
        return load_network(model), data

    return made


PAIR = task_of_classes(("against", "for"))
TWO = {word: [0.0, worth] for word, worth in WORTH.items()}


def weights(found) -> dict[str, float]:
    return {found.text[word.start : word.end]: word.weight for word in found.words}


# Words --------------------------------------------------------------------------------------------------------------


def test_leaving_a_word_out_takes_exactly_its_part(bag):
    network, data = bag(["So fine, good! Bad", "awful so fine"], PAIR, TWO)
    for_, against = excerpts(network, data, [0, 1])
    assert for_.text == "So fine, good! Bad" and not for_.before and not for_.after
    # The margin is 1 + 2 - 1.5 for the second class; each word's part in it is its own worth, the largest being 2.
    assert weights(for_) == pytest.approx({"So": 0, "fine": 0.5, ",": 0, "good": 1, "!": 0, "Bad": -0.75})
    # Here the first class is predicted: what speaks against the second one speaks for it.
    assert weights(against) == pytest.approx({"awful": 1, "so": 0, "fine": -0.25})


def test_of_several_classes_the_next_best_is_what_counts(bag):
    rows = {"red": [3.0, 0.0, 0.0], "blue": [0.0, 2.0, 0.0], "green": [0.0, 0.0, 1.5]}
    network, data = bag(["red blue green"], task_of_classes(("a", "b", "c")), rows)
    # Without red: 0 - 2 instead of 3 - 2. Without blue the next best is green: 3 - 1.5. Without green: nothing new.
    assert weights(excerpts(network, data, [0])[0]) == pytest.approx(
        {"red": 1, "blue": -0.5 / 3, "green": 0}, abs=1e-6
    )


def test_of_a_number_it_is_the_number(bag):
    prices = Task("regression", target="price", unit="dollars", outputs=("value",))
    network, data = bag(["good awful so"], prices, {word: [worth] for word, worth in WORTH.items()})
    assert weights(excerpts(network, data, [0])[0]) == pytest.approx({"good": 0.5, "awful": -1, "so": 0})


def test_a_word_that_stands_twice_is_left_out_once(bag):
    network, data = bag(["good good bad"], PAIR, TWO)
    assert [word.weight for word in excerpts(network, data, [0])[0].words] == pytest.approx([1, 1, -0.75])


@pytest.mark.parametrize("text", ["", "   ", "so so so"])
def test_texts_in_which_no_word_matters(bag, text):
    network, data = bag([text], PAIR, TWO)
    found = excerpts(network, data, [0])[0]
    assert found.text == text and all(word.weight == 0 for word in found.words)
    assert len(found.words) == len(text.split())


def test_places_are_letters_also_of_composed_and_wide_signs(bag):
    network, data = bag(["cafe\u0301 \U0001f600 good"], PAIR, TWO)
    assert weights(excerpts(network, data, [0])[0])["good"] == 1


def test_an_excerpt_holds_the_most_weight_in_whole_words(bag):
    random = np.random.default_rng(2)
    words = [
        str(word)
        for word in random.choice([*WORTH, "unknownlongword"], LENGTH + 30, p=[0.1, 0.1, 0.5, 0.1, 0.1, 0.1])
    ]
    text = " ".join(words)
    network, data = bag([text, text[:LETTERS].rsplit(" ", 1)[0]], PAIR, TWO)
    found, short = excerpts(network, data, [0, 1])
    assert short.text == text[:LETTERS].rsplit(" ", 1)[0] and not short.before and not short.after
    assert len(found.text) <= LETTERS and found.after, "the network does not read the last thirty words"
    place = text.index(found.text)
    assert found.before == (place > 0)
    assert f" {found.text} " in f" {text} ", "no word is cut"
    assert [found.text[word.start : word.end] for word in found.words] == found.text.split()
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
    size = np.array([abs(WORTH.get(word, 0)) for word in words])

    def within(first: int) -> float:
        return sum(size[k] for k in range(first, LENGTH) if starts[k] + len(words[k]) - starts[first] <= LETTERS)

    most = max(within(first) for first in range(LENGTH))
    assert sum(abs(word.weight) for word in found.words) == pytest.approx(most / size[:LENGTH].max())


def test_one_endless_word_is_shown_by_its_beginning(bag):
    network, data = bag(["so " + "x" * 5_000, "good " + "y" * 5_000 + " fine", "z" * 5_000], PAIR, TWO)
    for found in excerpts(network, data, [0, 1, 2]):
        assert len(found.text) <= LETTERS and found.after
    assert "good" in weights(excerpts(network, data, [1])[0])


def test_a_text_is_weighed_once(bag, monkeypatch):
    network, data = bag(["good bad"], PAIR, TWO)
    first = excerpts(network, data, [0])
    monkeypatch.setattr("core.damage.occlusion._excerpt", None)
    assert excerpts(network, data, [0])[0] is first[0]


# Rows ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    """Rows of three numbers and a material; the third number never varies before the evaluation."""
    random = np.random.default_rng(0)
    splits = []
    for name, count in (("calibration", 200), ("evaluation", 40)):
        x = random.normal([10, -3, 7, 0], [2, 0.5, 0, 0], (count, 4)).astype(np.float32)
        x[:, 3] = random.integers(0, 3, count)
        if name == "evaluation":
            x[0] = [10.5, -6.25, 7, 2]
            x[1, 2] = 8
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(count) % 2)
        path = tmp_path / f"{name}.npz"
        splits.append(SplitHandle(name, path, count, fingerprint.of_file(path)))
    plain = Preprocessing(1.0, (0.0,) * 4, (1.0,) * 4)
    return DataHandle(
        "rows", "rows", "table", PAIR, plain, tuple(splits), "none", "made here",
        ("length", "<b>height</b>", "weight", "material"), {"material": ("oak", "steel", "tin & <i>lead</i>")},
    )  # fmt: skip


def test_the_furthest_values_come_first(table):
    before = load_split(table, "calibration").x.astype(np.float64)
    found = most_unusual(table, [0, 5], 3)
    for place, values in zip((0, 5), found, strict=True):
        row = load_split(table, "evaluation").x[place].astype(np.float64)
        away = (row - before.mean(0)) / np.maximum(before.std(0), 1e-12)
        order = np.argsort(-np.abs(away))[:3]
        assert [value.name for value in values] == [table.features[k] for k in order]
        assert [value.deviations for value in values] == pytest.approx(away[order])
        assert [value.notable for value in values] == (np.abs(away[order]) >= NOTABLE).tolist()
    first = found[0][0]
    assert (first.name, first.text, first.notable) == ("<b>height</b>", "\u22126.25", True)
    assert next(v for v in found[0] if v.name == "material").text == "tin & <i>lead</i>"


def test_what_never_varied_is_usual_until_it_does(table):
    values = {value.name: value for value in most_unusual(table, [0], 4)[0]}
    assert values["weight"].deviations == 0 and not values["weight"].notable
    assert most_unusual(table, [1], 1)[0][0].name == "weight"


def test_columns_without_names_are_numbered(table):
    assert feature_names(replace(table, features=())) == ("Value 1", "Value 2", "Value 3", "Value 4")
    assert feature_names(load_sample("breast-cancer")[1]) == load_sample("breast-cancer")[1].features


# On the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch):
    """What the gallery writes as HTML."""
    found: list[str] = []
    monkeypatch.setattr(gallery.st, "html", found.append)
    monkeypatch.setattr(gallery.st, "dataframe", lambda *_, **__: None)
    return found


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_a_hostile_text_is_shown_as_it_is(bag, written):
    network, data = bag([HOSTILE], PAIR, TWO)
    gallery.gallery([Shown(0, "<u>for</u>", "<svg/onload=x> 60 %", "against & 70 %", True)], data, network)
    page = written[0]
    assert set(re.findall(r"<(\w+)", page)) <= {
        "div",
        "figure",
        "p",
        "small",
        "blockquote",
        "mark",
        "figcaption",
        "span",
        "br",
    }
    quoted = re.search(r"<blockquote>(.*)</blockquote>", page).group(1)
    assert plain(quoted) == HOSTILE, "nothing is lost or added"
    marks = dict(re.findall(r"<mark class='([^']*)'>([^<]*)</mark>", quoted))
    assert marks == {"for strong": "awful", "against some": "good"}, (
        "the first class is predicted: awful speaks for it"
    )
    assert "<u>for</u>" in plain(page) and "<svg/onload=x> 60 %" in plain(page)


def test_hostile_names_of_columns_are_shown_as_they_are(table, written):
    gallery.gallery([Shown(0, "for", "for 60 %", "against 70 %", False)], table, None)
    page = written[0]
    assert not re.search(r"<(b|i)>(height|lead)", page)
    assert "<b>height</b>" in plain(page) and "tin & <i>lead</i>" in plain(page)


def test_a_value_beyond_all_measure_is_said_in_few_letters(table, written):
    gallery.gallery([Shown(1, "for", "for 60 %", "against 70 %", False)], table, None)
    assert "▲ over 99 σ" in plain(written[0]) and not re.search(r"\d{6}", plain(written[0]))


def test_nothing_to_show_is_said(table, written):
    gallery.gallery([], table, None)
    assert "No example falls in here" in written[0]
