"""The texts' preparation on made-up mails and sentences, and what their shipped files and networks promise."""

from __future__ import annotations

import importlib.util
import json
import re
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT

from core import fingerprint
from core.data.handle import load_split
from core.models.architectures import TextBag, TextTransformer
from core.models.export import exported
from core.models.graph import graph_of
from core.models.handle import build, graph_of_model
from core.models.samples import SHIPPED, load_sample, read_card

TEXTS = ("sentiment", "spam-mail")
SPLITS = ("fit", "calibration", "evaluation")


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "sample_models"))


def script(name: str, monkeypatch):
    """A sample's train.py as a module; running it is another matter."""
    spec = importlib.util.spec_from_file_location(f"train_{name}".replace("-", "_"), SHIPPED / name / "train.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


# Shared -------------------------------------------------------------------------------------------------------------


def test_texts_that_share_a_key_are_together():
    from texts import together

    found = together(["a", "a", "b", "", ""], ["", "x", "x", "y", ""])
    assert found[0] == found[1] == found[2] and len(set(found)) == 3  # through one another; empty keys share nothing


def test_whole_clusters_are_drawn_in_the_wanted_shares():
    from texts import drawn

    random = np.random.default_rng(1)
    clusters = random.integers(0, 1500, 4000)
    strata = (clusters % 3).astype(np.int8)
    part = drawn(clusters, strata, (0.3, 0.2), seed=5)
    for cluster in np.unique(clusters):
        assert len(set(part[clusters == cluster])) == 1
    for stratum in range(3):
        shares = np.bincount(part[strata == stratum], minlength=3) / (strata == stratum).sum()
        np.testing.assert_allclose(shares, [0.3, 0.2, 0.5], atol=0.01)
    assert (drawn(clusters, strata, (0.3, 0.2), seed=6) != part).any()


def test_the_vocabulary_is_the_most_frequent_words():
    from texts import ids_of, tokenizer_of

    tokenizer = tokenizer_of(["B b b a, a", "c! c d"], 6, 4)
    assert tokenizer.get_vocab() == {
        "[PAD]": 0,
        "[UNK]": 1,
        "b": 2,
        "a": 3,
        "c": 4,
        "!": 5,
    }  # of one count: by alphabet
    assert ids_of(tokenizer, ["A zebra", "c c c c c b"]).tolist() == [[3, 1, 0, 0], [4, 4, 4, 4]]
    rare = tokenizer_of(["b b a"], 6, 4, rarest=2)
    assert set(rare.get_vocab()) == {"[PAD]", "[UNK]", "b"}


def test_accents_are_composed():
    from texts import ids_of, tokenizer_of

    tokenizer = tokenizer_of(["caf\u00e9"], 6, 2)
    assert (ids_of(tokenizer, ["CAFE\u0301"]) == ids_of(tokenizer, ["caf\u00e9"])).all()


# Mails --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mails(monkeypatch):
    return script("spam-mail", monkeypatch)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("write to Jo.Doe+x@mail.example.com now", "write to emailaddress now"),
        ("mailto:jo@example.org", "mailto: emailaddress"),
        ("jo at example dot com, please", "emailaddress , please"),
        ("<jo@example.com>", "< emailaddress >"),
        ("see http://a.b/c?d=e, or www.example.ie/x", "see webaddress or webaddress"),
        ("at example.co.uk/page today", "at webaddress today"),
        ("from 192.168.0.1 on", "from webaddress on"),
        ("call +353 1 676 8888 today", "call phonenumber today"),
        ("call (800) 555-1234 today", "call phonenumber today"),
        ("on 2002-10-01, case 4711", "on number , case number"),
        ("in 24 hours, 7 days", "in 24 hours, 7 days"),
        ("<p>One<br>two &amp; three</p><style>p {x: y}</style><!-- four -->", "One two & three"),
    ],
)
def test_addresses_and_numbers_are_masked(mails, text, wanted):
    assert mails.masked(text) == wanted


def test_a_long_mail_is_cut_at_a_space(mails):
    found = mails.masked("word " * 500)
    assert len(found) <= mails.LONGEST and set(found.split()) == {"word"}


def test_only_the_body_is_read(mails):
    raw = (
        "From jo@example.com Mon\nFrom: jo@example.com\nSubject: secret\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="B"\n\n--B\nContent-Type: text/plain\n'
        "Content-Transfer-Encoding: quoted-printable\n\nthe b=6Fdy\nSPAM: verdict\nof it\n\n-- \nJo Doe\n"
        "--B\nContent-Type: text/html\n\n<b>other</b>\n--B--\n"
    )
    assert mails.masked(mails.body(mails.email.message_from_string(raw))) == "the body of it"
    first = "--B\nContent-Type: text/plain\n"
    attached = raw.replace(first, f"{first}Content-Disposition: attachment; filename=a\n\nattached\n{first}")
    assert mails.masked(mails.body(mails.email.message_from_string(attached))) == "the body of it"
    only = "Content-Type: text/html\n\n<b>other</b>\n"
    assert mails.masked(mails.body(mails.email.message_from_string(only))) == "other"


def mail(group: str, subject: str, body: str) -> dict:
    return {"group": group, "text": f"Subject: {subject}\n\n{body}\n"}


def words(random: np.random.Generator, count: int) -> str:
    return " ".join("".join(random.choice(list("bcdeh"), 6)) for _ in range(count))


def test_mails_of_one_campaign_stay_in_one_split(mails):
    random = np.random.default_rng(3)
    every, campaign = [], {}
    for k in range(300):
        group = mails.GROUPS[k % 5]
        begin, subject = words(random, 15), words(random, 3)
        every += [
            mail(group, subject, begin + " " + words(random, 5)),
            mail(group, words(random, 3), begin + " " + words(random, 5)),  # the same beginning
            mail(group, f"Re: [list] {subject}", words(random, 20)),  # the same subject
            mail(group, words(random, 3), begin[:-7] + " short"),
        ]
        every += [mail(group, words(random, 3), f"{words(random, 10)} {begin}") for _ in range(2)]  # the same middle
        names = [k] * 4 + [k + 1000] * 2
        campaign |= {
            mails.masked(mails.body(mails.email.message_from_string(m["text"]))): name
            for m, name in zip(every[-6:], names, strict=True)
        }
    every += [every[0], mail("spam-1", "other", "too short"), mail("spam-1", "other", "this one is about porn only")]
    parts = mails.prepared(every)
    assert sum(len(part.y) for part in parts.values()) == 1800, "repeated, short and coarse ones are left out"
    seen = [{campaign[text] for text in part.texts} for part in parts.values()]
    assert all(len(found) > 30 for found in seen)
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    for part in parts.values():
        assert (part.y == (part.more["part"] >= 3)).all()


ADDRESS = re.compile(r"@|https?:/|www\.|\b[\w-]+\.(?:com|net|org|edu|gov)\b|\d{3,}", re.IGNORECASE)


def test_no_address_is_left_in_the_shipped_mails():
    _, data = load_sample("spam-mail")
    for split in SPLITS:
        found = load_split(data, split).x
        assert [text for text in found if ADDRESS.search(text)] == []
        assert max(map(len, found)) <= 1200
        assert sum("emailaddress" in text for text in found) > 50
    vocabulary = json.loads((SHIPPED / "spam-mail" / "tokenizer.json").read_text())["model"]["vocab"]
    assert [word for word in vocabulary if ADDRESS.search(word)] == []
    assert ADDRESS.search("jo@x") and ADDRESS.search("see example.com") and ADDRESS.search("4711")


def test_ham_and_spam_are_the_parts_of_the_corpus():
    _, data = load_sample("spam-mail")
    for split in SPLITS:
        loaded = load_split(data, split)
        assert (loaded.y == (loaded.groups["part"] >= 3)).all()


# Sentences ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sentences(monkeypatch):
    return script("sentiment", monkeypatch)


def test_films_only_evaluate_and_equal_sentences_stay_together(sentences):
    random = np.random.default_rng(5)
    rows = {
        name: [{"text": words(random, 6), "class": k % 2} for k in range(400)] + [{"text": "", "class": None}]
        for name in sentences.SOURCES
    }
    for k in range(100):  # given again: with other signs, across sources, and as it is
        rows["amazon"].append({"text": rows["yelp"][k]["text"].upper() + "!", "class": k % 2})
        rows["yelp"].append({"text": rows["imdb"][k]["text"] + " .", "class": k % 2})
        rows["imdb"].append(dict(rows["imdb"][k]))
    parts = sentences.prepared(rows)
    assert sum(len(part.y) for part in parts.values()) == 1400
    films = sentences.UNSEEN
    assert (parts["evaluation"].more["source"] == films).sum() == 400
    assert all((parts[name].more["source"] != films).all() for name in ("calibration", "fit"))
    seen = [{sentences.plain(text) for text in part.texts} for part in parts.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_the_shipped_films_were_never_calibrated_on():
    _, data = load_sample("sentiment")
    calibration, evaluation = (load_split(data, split) for split in SPLITS[1:])
    names = read_card("sentiment")["data"]["groups"]["source"]["names"]
    films = names.index("films (IMDb)")
    assert (calibration.groups["source"] != films).all()
    counts = np.bincount(evaluation.groups["source"])
    assert counts[films] > 900
    for name, count in zip(names, counts, strict=True):
        assert f"{count} {name}" in data_split(), "the card states each source's share"


def data_split() -> str:
    return read_card("sentiment")["data"]["split"]


def test_it_does_worse_on_films_than_on_what_it_was_fitted_on():
    model, data = load_sample("sentiment")
    loaded = load_split(data, "evaluation")
    right = logits_of(model, loaded.inputs).argmax(1) == loaded.y
    films = loaded.groups["source"] == 1
    assert right[films].mean() > 0.6 and right[~films].mean() > right[films].mean() + 0.05


# Both ---------------------------------------------------------------------------------------------------------------


def logits_of(model, inputs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return build(model)(torch.from_numpy(inputs.copy())).numpy()


@pytest.mark.parametrize("name", TEXTS)
def test_the_tokenizer_is_the_cards(name):
    card = read_card(name)
    stated, path = card["preprocessing"]["tokenizer"], SHIPPED / name / "tokenizer.json"
    assert fingerprint.of_file(path) == stated["fingerprint"]
    held = json.loads(path.read_text())
    assert card["arguments"]["vocabulary"] == len(held["model"]["vocab"])
    assert held["model"]["vocab"]["[PAD]"] == 0 and held["model"]["vocab"]["[UNK]"] == 1
    assert held["truncation"]["max_length"] == held["padding"]["strategy"]["Fixed"] == card["input_shape"][0]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("split", SPLITS)
def test_texts_become_ids_and_groups_are_named(name, split):
    card, (_, data) = read_card(name), load_sample(name)
    loaded = load_split(data, split)
    assert loaded.inputs.shape == (card["splits"][split]["n"], *card["input_shape"])
    assert loaded.inputs.dtype == np.float32 and (loaded.inputs == loaded.inputs.round()).all()
    assert loaded.inputs.min() == 0 and loaded.inputs.max() < card["arguments"]["vocabulary"]
    for title, group in card["data"]["groups"].items():
        assert loaded.groups[title].max() == len(group["names"]) - 1


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("count", [1, 7])
def test_the_graph_computes_what_the_module_does(name, count):
    model, data = load_sample(name)
    inputs = load_split(data, "evaluation").inputs[:count]
    session = onnxruntime.InferenceSession(graph_of_model(model).whole().SerializeToString())
    found = session.run(None, {"input": inputs})[0]
    np.testing.assert_allclose(found, logits_of(model, inputs), atol=1e-5)


@pytest.mark.parametrize(
    "module", [TextBag(90, 8, [6], 2, 0.1), TextTransformer(90, 12, 8, 2, 16, 2, 2, 0.1)], ids=["bag", "transformer"]
)
def test_the_export_is_canonical_and_padding_says_nothing(module):
    module.eval()
    graph = graph_of(exported(module, torch.zeros(2, 12)))
    assert graph.shapes == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    ids = torch.randint(1, 90, (7, 12), generator=torch.Generator().manual_seed(2)).float()
    ids[1, 5:], ids[3] = 0, 0  # a short text and an empty one
    with torch.inference_mode():
        wanted = module(ids)
        session = onnxruntime.InferenceSession(graph.whole().SerializeToString())
        np.testing.assert_allclose(session.run(None, {"input": ids.numpy()})[0], wanted.numpy(), atol=1e-5)
        module.embedding.weight[0] += 5.0
        kept = [k for k in range(7) if k != 3]
        torch.testing.assert_close(module(ids)[kept], wanted[kept])
        assert torch.isfinite(module(ids)).all()


def test_word_order_matters_to_the_transformer_alone():
    ids = torch.arange(1.0, 13)[None]
    bag, transformer = TextBag(90, 8, [6], 2).eval(), TextTransformer(90, 12, 8, 2, 16, 1, 2).eval()
    torch.nn.init.normal_(transformer.positions)
    with torch.inference_mode():
        torch.testing.assert_close(bag(ids), bag(ids.flip(1)))
        assert not torch.allclose(transformer(ids), transformer(ids.flip(1)), atol=1e-4)
