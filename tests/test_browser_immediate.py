"""A slider moved twenty times: every exact number lies in every interval that was shown for it on the way."""

from __future__ import annotations

import re

from browsing import open_studio, press
from scipy import stats

MOVES = (
    ["Weight bits"] + ["Sparsity"] * 7 + ["Weight bits"] + ["Sparsity"] * 6 + ["Activation bits"] + ["Sparsity"] * 4
)
# Everything that the head of the page has shown, in order.
WATCH = """
() => {
  window.seen = [];
  const note = () => document.querySelectorAll('.t-open').forEach(grid => {
    if (grid.closest('.t-stale')) return;
    const take = grid.parentElement.querySelector('.t-take') || document.querySelector('.t-take');
    const text = take.innerText + '\\n' + grid.innerText;
    if (window.seen[window.seen.length - 1] !== text) window.seen.push(text);
  });
  new MutationObserver(note).observe(document.body, {childList: true, subtree: true, characterData: true});
}
"""
NUMBER = r"[<>]?\s?[−+]?[\d,.]+"
# Title, value, unit, what it was, change, and the interval of the change.
CARD = re.compile(rf"(Accuracy|Macro F1|ECE, 15 bins|NLL)\n(≈ )?({NUMBER})\s*(?:%|nats)\s+was ({NUMBER})[^\n]*\n+"
                  rf"({NUMBER})(?: points)? \[({NUMBER}), ({NUMBER})\]")  # fmt: skip
FLIPS = re.compile(r"Predictions that flipped\n(≈ )?([\d,]+)\s*of [\d,]+[\s\S]*?(?:([\d,]+) to ([\d,]+)|$)")
ROUNDING = {
    "Accuracy": 0.1,
    "Macro F1": 0.1,
    "ECE, 15 bins": 0.1,
    "NLL": 0.001,
}  # a digit shown, of each end and value


def number(text: str) -> float:
    return float(re.sub(r"[<>,\s]", "", text).replace("−", "-"))


def changes(text: str) -> dict[str, tuple[float, float, float]]:
    """Each card's change with the ends of its interval."""
    return {found[1]: tuple(number(found[i]) for i in (5, 6, 7)) for found in CARD.finditer(text)}


def flips(text: str) -> list[float]:
    found = FLIPS.search(text)
    return [number(part) for part in (found[2], found[3], found[4]) if part]


def test_twenty_moves_hold_what_their_intervals_said(page, address):
    assert len(MOVES) == 20
    open_studio(page, address)
    page.evaluate(WATCH)
    inside = {name: [] for name in (*ROUNDING, "Flips")}
    sparsity, estimates = 50, 0
    for label in MOVES:
        sparsity += label == "Sparsity"
        page.evaluate("() => { window.seen = []; }")
        press(page, label, "ArrowRight", f"{sparsity} % sparse" if label == "Sparsity" else "all 10,000")
        shown = page.evaluate("() => window.seen")
        exact = page.locator(".t-cards").inner_text()
        now, flipped = changes(exact), flips(exact)[0]
        assert set(now) == set(ROUNDING)
        for text in shown:
            assert "≈" in text and "Estimated from" in text, "marked as an estimate, with n"
            estimates += 1
            for name, (_, low, high) in changes(text).items():
                slack = ROUNDING[name]
                inside[name].append(low - slack <= now[name][0] <= high + slack)
            low, high = flips(text)[1:]
            inside["Flips"].append(low - 1 <= flipped <= high + 1)
    assert estimates >= 20, "each new point showed at least one estimate on its way"
    for name, held in inside.items():
        assert len(held) >= 10
        # The stated rate is 95 %; fewer than this would happen in one of a thousand such runs.
        assert sum(held) >= stats.binom.ppf(0.001, len(held), 0.95), f"{name}: {sum(held)} of {len(held)}"
