"""The comparison in words and tables: every sentence follows from the numbers it was given."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.quality.compared import Compared, Judged
from benchmarks.quality.rows import ROWS

TITLES = {row.id: row.title for row in ROWS}
RULES = """\
**Data.** Every library sees the same evaluation split and at most the same 512 calibration examples, spread evenly
over the calibration split (ours: 256 for ranges and rounding, 512 for repairs). Nothing is fitted on the evaluation
split.

**Bytes.** One rule for all (`benchmarks/quality/sized.py`, held to the engine's own packed file by a test): a weight
of b bits takes b bits, dense or behind a bit mask or behind one-byte gaps, whichever is smallest; four bytes a scale,
one a zero point that is not zero, five an activation grid, four for everything else. kB are 1,000 bytes.

**Best peer.** The variant of any other library with the best accuracy (or RMSE) on the evaluation split, which
favours the peers. Variants that leave layers in more bits than the row asks for are listed and not ranked.

**Ours.** The plain default, and one recipe a row: of those in `benchmarks/quality/ours.py` that take at most 1 % more
bytes than the best peer, the one with the best accuracy (or RMSE) on the calibration split, of equals the one of
least NLL. Only these two are judged on the evaluation split.

**Repaired rows.** Peers re-estimate batch-norm after pruning on their 512 inputs, as ours do; ours may correct biases
too. Samples without batch-norm have no such rows.

**Difference.** Ours less the best peer on the same examples, with its 95 % interval (accuracy: Agresti and Min,
tested by McNemar's mid-p; RMSE: paired bootstrap). A star marks what is beyond chance at 5 %, without correction for
the many rows.
"""


def value(one: float, unit: str) -> str:
    """A headline value for people."""
    return f"{100 * one:.2f} %" if unit == "fraction" else f"{one:,.1f}"


def cell(one: Judged, unit: str) -> str:
    """Headline, ECE or coverage, and bytes."""
    return f"{value(one.value, unit)} · {100 * one.sure:.1f} % · {one.bytes / 1_000:,.1f}"


def moved(one: float, unit: str) -> str:
    """A difference: points, or the unit of the numbers."""
    return f"{100 * one:+.2f}" if unit == "fraction" else f"{one:+,.1f}"


def verdict(row: Compared) -> str:
    """Who is best, starred where that is beyond chance."""
    if row.best is None:
        return "no peer"
    if row.gain == 0:
        return "equal"
    name = "ours" if row.gain > 0 else row.best.library
    return f"{name} *" if row.significant else name


def table(rows: Sequence[Compared], unit: str, sure: str) -> str:
    """The main table of a sample."""
    what = "accuracy" if unit == "fraction" else "RMSE"
    head = [f"each cell: {what} · {sure} · kB", "plain default", "ours, chosen", "its recipe", "best peer", "which"]
    head += ["ours - peer" + (", points" if unit == "fraction" else f", {unit}"), "best"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---|---:|---|---:|---|"]
    for row in rows:
        cells = [TITLES[row.row], cell(row.plain, unit), cell(row.chosen, unit), row.chosen.how]
        if row.best is None or row.difference is None or row.low is None or row.high is None:
            cells += ["-", "none can", "-"]
        else:
            between = f"{moved(row.low, unit)} to {moved(row.high, unit)}"
            cells += [cell(row.best, unit), f"{row.best.library}: {row.best.variant}"]
            cells += [f"{moved(row.difference, unit)} ({between})"]
        lines.append(f"| {' | '.join([*cells, verdict(row)])} |")
    return "\n".join(lines)


def libraries(rows: Sequence[Compared], unit: str) -> str:
    """Every library's best variant in each row, or why it has none, numbered below the table."""
    names = list(dict.fromkeys(one.library for row in rows for one in (*row.peers, *row.missing)))
    notes: dict[str, int] = {}

    def said(row: Compared, name: str) -> str:
        made = [one for one in row.peers if one.library == name]
        ranked = [one for one in made if one.ranked] or made
        why = [one.why for one in row.missing if one.library == name]
        if not ranked:
            return f"- [{notes.setdefault('; '.join(why) or 'not asked', len(notes) + 1)}]"
        best = (max if row.higher_is_better else min)(ranked, key=lambda one: one.value)
        mark = f" [{notes.setdefault(best.note, len(notes) + 1)}]" if not best.ranked else ""
        return f"{cell(best, unit)}{mark}"

    lines = [f"| row | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    lines += [f"| {TITLES[row.row]} | {' | '.join(said(row, name) for name in names)} |" for row in rows]
    listed = [f"[{number}] {text}  " for text, number in notes.items()]
    return "\n".join([*lines, "", *listed])


def sentence(row: Compared, unit: str, of: str) -> str:
    """What to say where ours is below the best peer or larger; nothing elsewhere."""
    if row.best is None or row.difference is None or row.low is None or row.high is None:
        return ""
    more = row.chosen.bytes / row.best.bytes - 1
    larger = f"Ours takes {100 * more:.1f} % more bytes." if more > 0.01 else ""
    if row.gain >= 0:
        return f"- {TITLES[row.row]}: {larger}" if larger else ""
    chance = "beyond chance" if row.significant else "not beyond chance"
    points = " points" if unit == "fraction" else f" {unit}"
    between = f"{moved(row.low, unit)} to {moved(row.high, unit)}"
    fewer = f"Ours takes {-100 * more:.1f} % fewer bytes." if more < -0.01 else larger
    return (
        f"- {TITLES[row.row]}: {row.best.library} ({row.best.variant}) has {of} {value(row.best.value, unit)}, ours "
        f"{value(row.chosen.value, unit)} by {row.chosen.how}: {moved(row.difference, unit)}{points} ({between}), "
        f"{chance}. The peer works by {row.best.how}. {fewer}"
    ).rstrip()


def tally(rows: Sequence[Compared]) -> str:
    """How many rows ours leads, ties and loses, counted."""
    against = [row for row in rows if row.best is not None]
    above = [row for row in against if row.gain > 0]
    below = [row for row in against if row.gain < 0]
    sure_above, sure_below = (sum(row.significant for row in some) for some in (above, below))
    return (
        f"Of {len(against)} rows with a peer, ours is above the best in {len(above)} ({sure_above} beyond chance), "
        f"equal in {len(against) - len(above) - len(below)} and below in {len(below)} ({sure_below} beyond chance)."
    )


def section(sample: str, rows: Sequence[Compared], original: Judged, unit: str, metric: str) -> str:
    """All that is said of one sample."""
    sure = "ECE" if unit == "fraction" else "coverage of 90 % intervals"
    said = [
        found for row in rows if (found := sentence(row, unit, "accuracy" if unit == "fraction" else "an RMSE of"))
    ]
    parts = [
        f"## {sample}",
        f"Untouched: {metric} {value(original.value, unit)}, {sure} {100 * original.sure:.1f} %, "
        f"{original.bytes / 1_000:,.1f} kB. {tally(rows)}",
        table(rows, unit, sure),
        "**Where ours is below, or larger.**\n\n" + "\n".join(said) if said else "Ours is nowhere below or larger.",
        f"**The best variant of every library.**\n\n{libraries(rows, unit)}",
    ]
    return "\n\n".join(parts)
