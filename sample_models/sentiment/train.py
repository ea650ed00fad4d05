"""Train `sentiment`: is a sentence of a review positive? Fitted on products and restaurants, judged on films too.

The 3,000 labelled sentences are fixtures of the npm package `sentiment`, pinned below; they are taken out of its
archive, and nothing of the package is installed or run.
"""

import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from descent import Descent  # noqa: E402
from texts import Archive, TextPart, drawn, members, together, tokenizer_of, train_texts  # noqa: E402

PACKAGE = Archive("sentiment", "5.0.2", "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f")
SOURCES = ("amazon", "imdb", "yelp")
NAMES = ("products (Amazon)", "films (IMDb)", "restaurants (Yelp)")
UNSEEN = SOURCES.index("imdb")  # never fitted or calibrated on
SHARES = (0.2, 0.2)  # of the two other sources evaluate and calibrate; 0.6 fit the weights
LENGTH = 40  # words; the longest sentence that is fitted has 36
PLAN = Descent(epochs=40, batch=32, rate=1e-3, weight_decay=0.05, warm_up_epochs=2, seed=8)


def plain(text: str) -> str:
    """A sentence by its letters alone, lower case: what equal sentences share."""
    return "".join(c for c in text.lower() if c.isalpha())


def prepared(rows: dict[str, list[dict]]) -> dict[str, TextPart]:
    """The three splits. Sentences of the same letters are in the same one, those given twice only once."""
    texts, y, source = [], [], []
    for place, name in enumerate(SOURCES):
        known = set()
        for row in rows[name]:
            text = " ".join(row["text"].split())
            if text and (plain(text), row["class"]) not in known:  # the last row of each file is empty
                known.add((plain(text), row["class"]))
                texts.append(text)
                y.append(row["class"])
                source.append(place)
    labels, sources = np.array(y, np.int64), np.array(source, np.int8)
    same = together([plain(text) for text in texts])
    part = drawn(same, sources * 2 + labels, SHARES, seed=80)
    part[np.isin(same, same[sources == UNSEEN])] = 0  # films, and a sentence that they share with the others
    chosen = {name: np.flatnonzero(part == n) for n, name in enumerate(("evaluation", "calibration", "fit"))}
    return {n: TextPart([texts[k] for k in i], labels[i], {"source": sources[i]}) for n, i in chosen.items()}


def shares(part: TextPart) -> str:
    """How many of a split's sentences come from each source."""
    counts = np.bincount(part.more["source"], minlength=len(SOURCES))
    return ", ".join(f"{n} {name}" for n, name in zip(counts, NAMES, strict=True) if n)


if __name__ == "__main__":
    files = members(PACKAGE, "package/test/fixtures/", ".json")
    found = prepared({Path(name).stem: json.loads(content) for name, content in files})
    print({name: (len(part.y), float(part.y.mean().round(4)), shares(part)) for name, part in found.items()})
    tokenizer = tokenizer_of(found["fit"].texts, 20_000, LENGTH, rarest=2)
    train_texts(
        FOLDER,
        found,
        tokenizer,
        {"length": LENGTH, "width": 56, "heads": 4, "hidden": 112, "blocks": 2, "dropout": 0.3},
        PLAN,
        {
            "title": "Review Sentiment",
            "summary": "Is a sentence of a review positive? Fitted on products and restaurants, judged on films too.",
            "task": {"kind": "binary", "positive": "positive"},
            "architecture": "text-transformer",
            "classes": ["negative", "positive"],
            "data": {
                "name": "Sentiment Labelled Sentences",
                "licence": "CC BY 4.0",
                "attribution": "Kotzias, Denil, de Freitas and Smyth 2015, From Group to Individual Labels Using "
                "Deep Features, doi 10.1145/2783258.2783380; UCI Machine Learning Repository, doi 10.24432/C57604; "
                "as carried by the npm package sentiment 5.0.2. Changed: see preparation",
                "split": "Films are never fitted or calibrated on: all of them evaluate. The two other sources are "
                "drawn with a fixed seed, each class in proportion. "
                + " ".join(f"{n.capitalize()}: {shares(part)}." for n, part in found.items())
                + " All of them are shipped.",
                "target": "Class 1: the sentence is positive. The sources have no neutral sentences.",
                "preparation": "White space is made single. Sentences given twice with one label are kept once; "
                "those that differ in punctuation or case alone are in one split. The network reads the first 40 "
                "words and signs; no fitted sentence has more than 36, some on films do.",
                "groups": {"source": {"array": "source", "names": list(NAMES), "feature": False}},
            },
            "training": {"vocabulary": "words that occur twice or more in the fit split; no other split is read"},
        },
    )
