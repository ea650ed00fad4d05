"""The report's HTML: every text made safe, the charts' data and their script inside the one file.

Plotly's script is compressed and packed into the page; the browser unpacks it (`DecompressionStream`). A content
security policy names the only two scripts that may run by their hashes and lets nothing be fetched, so that neither
a class called `<script>` nor a chart can reach the network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from typing import Any

import pandas as pd
import plotly.io as pio
from plotly.offline import get_plotlyjs

from core.figures import words
from core.figures.theme import FONT, palette
from core.types import Chart

MOST_ROWS = 400  # of a table in the file: those of many classes would outweigh the rest
PRINTED = 900  # px: the width at which charts are drawn for paper, then shrunk to it
SHRUNK = 0.74  # of that: an A4 page between its margins is 688 px wide


def section(title: str, inside: str, name: str = "") -> str:
    """A titled part. `title` is plain text, `inside` HTML made here."""
    mark = f" class='{name}'" if name else ""
    return f"<section{mark}><h2>{escape(title)}</h2>{inside}</section>"


def head(title: str, lead: str, facts: Sequence[str]) -> str:
    """The top: what it is about, its finding, what it rests on in a line."""
    items = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return (
        f"<header><p class='brand'>Temper report</p><h1>{escape(title)}</h1><p class='lead'>{escape(lead)}</p>"
        f"<ul class='facts-line'>{items}</ul></header>"
    )


def warning(text: str) -> str:
    """A sentence that must be read beside the result."""
    return f"<p class='warning'><b>Note.</b> {escape(text)}</p>"


def cards(shown: Iterable[tuple[str, str, str, str]]) -> str:
    """Cards of title, big number, what it was, what changed."""
    drawn = "".join(
        f"<dl class='card'><dt>{escape(title)}</dt><dd class='big'>{escape(big)}</dd>"
        f"<dd class='was'>{escape(was)}</dd><dd class='delta'>{escape(change)}</dd></dl>"
        for title, big, was, change in shown
    )
    return f"<div class='cards'>{drawn}</div>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its rows."""
    top = "".join(f"<th scope='col'>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for."""
    return f"<dl class='facts'>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows)}</dl>"


def listed(lines: Iterable[str], ordered: bool = False) -> str:
    """Sentences as a list."""
    kind = "ol" if ordered else "ul"
    return f"<{kind}>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</{kind}>"


def paragraph(text: str) -> str:
    """Plain words."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """A quiet line, or nothing."""
    return f"<p class='small'>{escape(text)}</p>" if text else ""


def code(text: str) -> str:
    """Text to copy."""
    return f"<pre tabindex='0'><code>{escape(text)}</code></pre>"


def folded(title: str, inside: str) -> str:
    """Something to open; `inside` is HTML made here."""
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


def chart(title: str, name: str, shown: Chart) -> str:
    """A chart's section: its finding, its place with words for who cannot see it, its data, its numbers folded."""
    figure = json.loads(pio.to_json(shown.figure, validate=False, remove_uids=True))
    height = int(shown.figure.layout.height or 360)
    return (
        f"<section class='chart'><h2>{escape(title)}</h2><p class='caption'>{escape(shown.caption)}</p>"
        f"<div class='plot' id='{name}' role='img' aria-label='{escape(shown.alt, quote=True)}' "
        f"style='height:{height}px'><p class='alt'>{escape(shown.alt)}</p></div>"
        f"<script type='application/json' data-for='{name}'>{_data(figure)}</script>"
        f"{folded('Table of numbers', _frame(shown.table))}</section>"
    )


def _data(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _frame(frame: pd.DataFrame) -> str:
    shown = frame.head(MOST_ROWS)
    rows = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    left = len(frame) - len(shown)
    more = f"{words.count(left)} more rows are left out of this file." if left else ""
    return table([str(column) for column in frame.columns], rows) + note(more)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return words.NOTHING
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)


def document(title: str, parts: Iterable[str]) -> str:
    """The whole file. `title` is plain text, `parts` HTML made here."""
    packed, plotly_hash = _plotly()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        f"script-src '{_hash(_LOADER)}' '{plotly_hash}'; base-uri 'none'; form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<meta name='generator' content='Temper'><title>{escape(title)} · Temper report</title>"
        f"<style>{_sheet()}</style></head><body><main>{''.join(parts)}</main>"
        f"<script type='text/plain' id='plotly'>{packed}</script><script>{_LOADER}</script></body></html>\n"
    )


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


@cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, compressed, in base64, and the hash of its plain form."""
    source = get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode(), _hash(source)


# Before printing, charts are drawn at a width that suits paper; the style sheet shrinks them to the page.
_LOADER = f"""
(async () => {{
  const plots = [...document.querySelectorAll('.plot')];
  try {{
    const packed = Uint8Array.from(atob(document.getElementById('plotly').textContent), c => c.charCodeAt(0));
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    for (const plot of plots) {{
      const told = JSON.parse(document.querySelector(`script[data-for="${{plot.id}}"]`).textContent);
      plot.textContent = '';
      await Plotly.newPlot(plot, told.data, told.layout, {{displayModeBar: false, responsive: true}});
    }}
    document.documentElement.dataset.charts = 'drawn';
  }} catch (error) {{
    document.documentElement.dataset.charts = 'missing';
    return;
  }}
  let printing = false;
  const paper = on => {{
    if (on === printing) return;
    printing = on;
    for (const plot of plots) Plotly.relayout(plot, on ? {{width: {PRINTED}}} : {{width: null, autosize: true}});
  }};
  addEventListener('beforeprint', () => paper(true));
  addEventListener('afterprint', () => paper(false));
  matchMedia('print').addEventListener('change', event => paper(event.matches));
}})();
"""


def _sheet() -> str:
    p = palette("light")
    return f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: {p.background}; color: {p.text}; font: 16px/1.5 {FONT}; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 2.2rem 2rem 4rem; }}
.brand {{ margin: 0 0 1.1rem; font-weight: 700; letter-spacing: -.01em; color: {p.muted}; }}
.brand::before {{ content: ""; display: inline-block; width: .7rem; height: .7rem; margin-right: .5rem;
  border-radius: 2px; background: linear-gradient(135deg, {p.original} 50%, {p.tempered} 50%); }}
h1 {{ font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 .5rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.2rem; letter-spacing: -.01em; margin: 0 0 .35rem; }}
.lead {{ font-size: 1.16rem; margin: 0 0 .7rem; max-width: 75ch; }}
.facts-line {{ list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: 0; padding: 0;
  color: {p.muted}; font-size: .88rem; }}
section {{ margin-top: 2.1rem; padding-top: 1.1rem; border-top: 1px solid {p.line}; }}
.cards {{ display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .7rem; margin-top: 1.4rem; }}
@media (max-width: 720px) {{
  .cards {{ grid-template-columns: repeat(2, minmax(0, 1fr)); }}
  main {{ padding: 1.2rem; }}
}}
.card {{ margin: 0; border: 1px solid {p.line}; border-radius: 10px; padding: .65rem .9rem .7rem;
  background: {p.surface}; }}
.card dt {{ font-size: .8rem; color: {p.muted}; }}
.card dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
.big {{ font-size: 1.65rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.3; }}
.was {{ font-size: .8rem; color: {p.muted}; }}
.delta {{ font-size: .84rem; min-height: 1.3em; }}
.caption {{ margin: 0 0 .4rem; }}
.small {{ font-size: .84rem; color: {p.muted}; margin: .5rem 0 0; }}
.warning {{ border: 1px solid {p.accent}; border-radius: 8px; padding: .6rem .9rem; margin: 1.2rem 0 0; }}
.plot {{ width: 100%; }}
.alt {{ color: {p.muted}; margin: 0; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: .32rem .7rem; border-bottom: 1px solid {p.line}; vertical-align: top; }}
th:first-child {{ text-align: left; padding-left: 0; }}
thead th {{ color: {p.muted}; font-weight: 550; font-size: .82rem; }}
tbody th {{ font-weight: 500; }}
summary {{ cursor: pointer; color: {p.muted}; font-size: .88rem; margin-top: .5rem; }}
:focus-visible {{ outline: 2px solid {p.accent}; outline-offset: 2px; }}
.facts {{ display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .25rem 1.4rem; margin: .4rem 0 0;
  font-size: .92rem; }}
.facts dt {{ color: {p.muted}; }}
.facts dd {{ margin: 0; overflow-wrap: anywhere; }}
ul, ol {{ padding-left: 1.3rem; margin: .4rem 0; }}
li {{ margin: .2rem 0; }}
pre {{ background: {p.surface}; border: 1px solid {p.line}; border-radius: 8px; padding: .7rem .9rem;
  overflow-x: auto; font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .4rem 0; }}
@page {{ size: A4; margin: 14mm; }}
@media print {{
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  html {{ font-size: 12.5px; }}
  body {{ font-size: 1rem; }}
  td, th {{ white-space: nowrap; }}
  main {{ max-width: none; padding: 0; }}
  section {{ margin-top: 1.2rem; padding-top: .8rem; }}
  section.chart, section.figures {{ break-inside: avoid; }}
  h2, .caption {{ break-after: avoid; }}
  .card, tr, pre, li {{ break-inside: avoid; }}
  .plot {{ width: {PRINTED}px; zoom: {SHRUNK}; }}
  .big {{ font-size: 1.3rem; }}
  details:not([open]) {{ display: none; }}
  .wide {{ overflow: visible; }}
}}
"""
