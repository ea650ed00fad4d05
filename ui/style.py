"""The style sheet, written from the one palette that the charts use too."""

from __future__ import annotations

from core.figures.theme import palette


def sheet(mode: str) -> str:
    """The page's `<style>` element for a colour mode."""
    p = palette(mode)
    return f"""<style>
:root {{
  --t-text: {p.text}; --t-muted: {p.muted}; --t-line: {p.line}; --t-surface: {p.surface};
  --t-original: {p.original}; --t-tempered: {p.tempered}; --t-accent: {p.accent}; --t-background: {p.background};
}}
.stMainBlockContainer {{ padding: 1.1rem 2.2rem 4rem; max-width: 1560px; }}
[data-testid="stHeader"] {{ background: transparent; height: 2.4rem; pointer-events: none; }}
[data-testid="stHeader"] * {{ pointer-events: none; }}
[data-testid="stHeader"] button, [data-testid="stHeader"] button * {{ pointer-events: auto; }}
.st-key-header {{ border-bottom: 1px solid var(--t-line); padding-bottom: .45rem; }}
.t-brand {{ font-weight: 700; font-size: 1.3rem; letter-spacing: -.02em; color: var(--t-text); margin-right: 1rem; }}
.t-brand::before {{ content: ""; display: inline-block; width: .7rem; height: .7rem; margin-right: .5rem;
  border-radius: 2px; background: linear-gradient(135deg, var(--t-original) 50%, var(--t-tempered) 50%); }}
[class*="st-key-nav-"][class*="-here"] a {{ box-shadow: inset 0 -2px 0 var(--t-accent); border-radius: 0; }}
@media (max-width: 1240px) {{
  .st-key-header {{ gap: .3rem !important; }}
  .t-brand {{ font-size: 1.12rem; margin-right: .3rem; }}
  [class*="st-key-nav-"] a {{ padding-left: .4rem; padding-right: .4rem; }}
  [class*="st-key-nav-"] a p {{ font-size: .88rem; white-space: nowrap; }}
}}
h1.t-title {{ font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; margin: .2rem 0 .3rem; padding: 0; }}
h2.t-title {{ font-size: 1.12rem; letter-spacing: -.01em; margin: 0; padding: 0; }}
h3.t-group {{ font-size: .74rem; font-weight: 650; text-transform: uppercase; letter-spacing: .07em;
  color: var(--t-muted); margin: .1rem 0 0; padding: 0; }}
.t-lead {{ font-size: 1.08rem; color: var(--t-muted); max-width: 62ch; margin: 0; line-height: 1.5; }}
.t-take {{ font-size: 1.02rem; margin: 0; line-height: 1.45; }}
.t-plain {{ font-size: 1.06rem; line-height: 1.6; margin: 0; max-width: 88ch; }}
.t-plain a {{ color: var(--t-text); text-decoration: underline; text-decoration-color: var(--t-line); text-underline-offset: .22em; }}
.t-plain a:hover, .t-contents a:hover {{ text-decoration-color: var(--t-accent); color: var(--t-accent); }}
h2.t-section {{ font-size: 1.36rem; letter-spacing: -.015em; margin: 1.2rem 0 0; padding: .8rem 0 0; border-top: 1px solid var(--t-line); }}
.t-contents {{ list-style: none; margin: .4rem 0 0 !important; padding: .5rem 0 0 !important; border-top: 1px solid var(--t-line); font-size: .86rem; }}
.t-contents li {{ margin: .2rem 0 !important; padding: 0; }} .t-contents a {{ color: var(--t-muted); }}
.t-caption {{ font-size: .92rem; color: var(--t-text); margin: .1rem 0 0; line-height: 1.4; }}
.t-small {{ font-size: .8rem; color: var(--t-muted); margin: 0; line-height: 1.4; }}
.t-cards {{ display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .7rem; }}
@media (max-width: 720px) {{ .t-cards {{ grid-template-columns: repeat(2, minmax(0, 1fr)); }} }}
.t-card {{ border: 1px solid var(--t-line); border-radius: 10px; padding: .7rem .9rem .75rem !important; background: var(--t-surface);
  min-height: 8.7rem; }}
.t-card, .t-facts, .t-card dt, .t-card dd, .t-facts dt, .t-facts dd {{ margin: 0; }}
.t-card dt, .t-card dd, .t-facts, .t-facts dt, .t-facts dd {{ padding: 0 !important; }}
.t-stale {{ opacity: .45; }}
.t-take {{ min-height: 1.5rem; margin-bottom: .8rem !important; }}
.t-open .t-card {{ border-style: dashed; }}
.t-card dt {{ font-size: .78rem; color: var(--t-muted); margin: 0; }}
.t-card dd {{ margin: 0; }}
.t-big {{ font-size: 1.85rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.25;
  font-variant-numeric: tabular-nums; color: var(--t-text); }}
.t-big small {{ font-size: .95rem; font-weight: 500; color: var(--t-muted); margin-left: .15rem; }}
.t-was {{ font-size: .8rem; color: var(--t-muted); font-variant-numeric: tabular-nums; }}
.t-delta {{ font-size: .84rem; font-variant-numeric: tabular-nums; color: var(--t-text); }}
.t-delta b {{ font-weight: 650; }}
.t-dot {{ display: inline-block; width: .6em; height: .6em; border-radius: 50%; margin-right: .35em; vertical-align: .03em; }}
.t-dot.original {{ box-shadow: inset 0 0 0 2px var(--t-original); }}
.t-dot.tempered {{ background: var(--t-tempered); }}
.t-strip {{ list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .7rem 0 0 !important; padding: 0 !important;
  font-size: .78rem; color: var(--t-muted); font-variant-numeric: tabular-nums; }}
.t-strip li {{ margin: 0 !important; padding: 0; display: flex; gap: .35rem; }} .t-strip b {{ font-weight: 550; color: var(--t-text); }}
.t-strip i {{ font-style: normal; }} .t-strip .sure i {{ color: var(--t-text); font-weight: 650; }}
.t-strip .t-strip-title {{ text-transform: uppercase; letter-spacing: .06em; font-size: .7rem; align-self: center; }}
.t-gallery {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(126px, 1fr)); gap: .6rem; }}
.t-gallery figure {{ margin: 0; border: 1px solid var(--t-line); border-radius: 8px; padding: .45rem; background: var(--t-surface); }}
.t-gallery figure.flipped {{ border-color: var(--t-tempered); }}
.t-gallery img {{ width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; background: #000; }}
.t-pair {{ border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; margin: .2rem 0 .5rem; }}
.t-pair {{ display: table !important; }} .t-pair thead {{ display: table-header-group !important; }} .t-pair tbody {{ display: table-row-group !important; }}
.t-pair caption {{ display: table-caption !important; caption-side: top; text-align: left; font-size: .8rem; color: var(--t-muted); padding: 0 0 .3rem; }}
.t-pair th, .t-pair td {{ padding: .34rem .6rem; border: 0; border-bottom: 1px solid var(--t-line); text-align: right; color: var(--t-text); }}
.t-pair thead th {{ font-size: .76rem; font-weight: 550; color: var(--t-muted); vertical-align: bottom; }}
.t-pair th:first-child {{ text-align: left; padding-left: 0; font-weight: 550; }} .t-pair td:last-child, .t-pair th:last-child {{ padding-right: 0; white-space: nowrap; }}
.t-soft {{ grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }}
.t-soft .t-bars {{ list-style: none; margin: .45rem 0 0 !important; padding: 0 !important; font-size: .74rem; }}
.t-soft .t-bars li {{ display: grid; grid-template-columns: 1fr auto; gap: 0 .4rem; margin: .22rem 0 0 !important; padding: 0; border: 0; color: var(--t-muted); }}
.t-soft .t-bars b {{ font-weight: 550; font-variant-numeric: tabular-nums; }} .t-soft .t-bars i {{ grid-column: 1 / -1; height: 4px; border-radius: 2px; min-width: 1px; background: var(--t-original); }}
.t-soft .t-bars .is-label, .t-soft .t-bars .is-label b {{ color: var(--t-text); font-weight: 650; }}
.t-gallery figcaption {{ font-size: .74rem; line-height: 1.35; margin-top: .35rem; color: var(--t-text); }}
.st-key-bar {{ min-height: 3.4rem; }}
.st-key-layers-bar {{ min-height: 4.4rem; }} .st-key-layers-head {{ min-height: 13.5rem; }}
@media (max-width: 1200px) {{ .st-key-layers-head {{ min-height: 20.5rem; }} .st-key-layers-bar {{ min-height: 5.8rem; }} }}
.t-status {{ font-size: .8rem; color: var(--t-muted); display: flex; flex-wrap: wrap; gap: .1rem .6rem; align-items: center; min-height: 1.5rem; }}
.t-status span {{ white-space: nowrap; }}
.t-tag {{ border: 1px solid var(--t-line); border-radius: 99px; padding: .05rem .55rem; font-size: .74rem; color: var(--t-text); }}
.st-key-go a {{ background: var(--t-accent); padding: .45rem .9rem; border-radius: 8px; }}
.st-key-go a * {{ color: var(--t-background) !important; font-weight: 600; }}
.st-key-go a:hover {{ filter: brightness(1.08); }}
.t-facts {{ display: grid; grid-template-columns: 1fr auto; gap: .15rem .8rem; font-size: .86rem; margin: .5rem 0 !important; }}
.t-facts dt {{ color: var(--t-muted); }} .t-facts dd {{ margin: 0; text-align: right; font-variant-numeric: tabular-nums; }}
.stColumn:has(> div > .st-key-controls), .stColumn:has(> div > div > .st-key-controls) {{ position: sticky; top: .6rem;
  align-self: flex-start; max-height: calc(100vh - 1.2rem); overflow-y: auto; padding-right: .4rem; }}
[class*="st-key-panel-"] {{ border-top: 1px solid var(--t-line); padding-top: .55rem; }}
.st-key-controls {{ gap: .5rem; }}
@media (max-width: 1240px) {{ .st-key-adapt-time button, .st-key-transfer-time button, .st-key-transfer-layers button {{
  padding-inline: .2rem; min-width: 0; }} .st-key-adapt-time button p, .st-key-transfer-time button p,
  .st-key-transfer-layers button p {{ font-size: .78rem; }} }}
[class*="st-key-panel-"] {{ gap: .3rem; }}
[class*="st-key-chart-"] {{ gap: .2rem; }}
.st-key-controls [data-testid="stWidgetLabel"] p {{ font-size: .84rem; }}
:focus-visible {{ outline: 2px solid var(--t-accent); outline-offset: 2px; }}
.t-gallery img.smooth {{ image-rendering: auto; }} .t-gallery figcaption {{ overflow-wrap: anywhere; }}
.t-rows {{ grid-template-columns: repeat(auto-fill, minmax(214px, 1fr)); }}
.t-texts {{ grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); }}
.t-gallery .t-truth {{ display: flex; justify-content: space-between; gap: .5rem; margin: 0 0 .3rem; font-size: .84rem; font-weight: 600; }}
.t-gallery .t-truth small {{ color: var(--t-muted); font-weight: 400; font-size: .72rem; white-space: nowrap; }}
.t-rows ul {{ list-style: none; margin: 0; padding: 0; font-size: .76rem; }}
.t-rows li {{ display: grid; grid-template-columns: 1fr auto 3.6rem; gap: .4rem; padding: .12rem 0; border-top: 1px solid var(--t-line); margin: 0; }}
.t-rows li span {{ color: var(--t-muted); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.t-rows li b {{ font-weight: 400; }} .t-rows li.notable b, .t-rows li.notable i {{ font-weight: 700; }}
.t-rows li i {{ font-style: normal; color: var(--t-muted); text-align: right; white-space: nowrap; }} .t-rows li.notable i {{ color: var(--t-text); }}
.t-texts blockquote {{ margin: 0; font-size: .8rem; line-height: 1.45; overflow-wrap: anywhere; color: var(--t-text); }}
.t-texts mark {{ color: inherit; background: none; border-radius: 3px; padding: 0 1px; }}
.t-texts mark.for {{ border-bottom: 2px solid var(--t-tempered); }} .t-texts mark.against {{ border-bottom: 2px dotted var(--t-original); }}
.t-texts mark.for.some {{ background: color-mix(in srgb, var(--t-tempered) 16%, transparent); }}
.t-texts mark.for.strong {{ background: color-mix(in srgb, var(--t-tempered) 34%, transparent); font-weight: 600; }}
.t-texts mark.against.some, .t-texts mark.against.strong {{ background: color-mix(in srgb, var(--t-original) 18%, transparent); }}
.t-pairs {{ grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); margin: .5rem 0 !important; }}
.t-pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: .35rem; }}
.t-checks, .t-notes {{ list-style: none; margin: .2rem 0 0 !important; padding: 0 !important; font-size: .86rem; line-height: 1.4; }}
.t-checks li {{ display: grid; grid-template-columns: 4.2rem 1fr; gap: .6rem; align-items: baseline; margin: .3rem 0 !important; overflow-wrap: anywhere; }}
.t-checks .t-tag {{ text-align: center; white-space: nowrap; }} .t-checks .look .t-tag {{ border-color: var(--t-accent); font-weight: 650; }}
.t-checks .note .t-tag {{ color: var(--t-muted); }} .t-notes li {{ margin: .25rem 0 !important; overflow-wrap: anywhere; }}
@media (prefers-reduced-motion: reduce) {{ * {{ transition: none !important; animation: none !important; }} }}
</style>"""
