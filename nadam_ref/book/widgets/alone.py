"""``embed/optimizers.html``: a page of the built book that has the widget alone, for other pages to show in a frame.

Its address ends in ``#w=alone&p=PRESET`` and a state, as the widget's button *Embed* writes them.
"""

from __future__ import annotations

import html
import json
from dataclasses import asdict

from ...rules import RULES
from .matrices import METHODS
from .presets import PARTS, PRESETS, WHOLE, Parts, knowledge

#: The scripts of a page with the widget, in their order.
WIDGET = ("core", "state", "draw", "page", "plots", "widget")

#: The colours that `widget.css` takes from the book's theme.
PAGE = """<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="robots" content="noindex">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Optimizers at play · {title}</title>
<link rel="stylesheet" href="../_static/optimizers/widget.css">
<style>
html {{
  --pst-color-background: #fff; --pst-color-surface: #f5f6f7;
  --pst-color-text-base: #1f2328; --pst-color-primary: #0b57d0;
}}
html[data-theme="dark"] {{
  color-scheme: dark;
  --pst-color-background: #16191d; --pst-color-surface: #21262c;
  --pst-color-text-base: #dde1e6; --pst-color-primary: #6cb2ff;
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0.5rem; background: var(--pst-color-background); color: var(--pst-color-text-base);
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}}
figure, footer {{ margin: 0; }}
footer {{ font-size: 0.8125rem; }}
a {{ color: var(--pst-color-primary); }}
</style>
{scripts}
</head>
<body>
<main><h1 class="play-said">Optimizers at play</h1><figure>
<div class="play" role="group" style="--play-height: 320px" data-program="nadamAlone" data-given="{data}"></div>
<script src="../_static/optimizers/start.js"></script>
</figure></main>
<footer><noscript>This figure needs JavaScript. </noscript>From <a href="../index.html" target="_top">{title}</a>,
<a href="https://creativecommons.org/licenses/by/4.0/" rel="license" target="_top">CC BY 4.0</a></footer>
</body>
</html>
"""


def page(title: str) -> str:
    """The page, in the folder ``embed`` beside ``_static``; `title` is the book's."""
    presets = {}
    for name, (label, state) in PRESETS.items():
        parts = asdict(PARTS.get(name, WHOLE))
        presets[name] = {**parts, "label": label, "preset": vars(state)}
    data = json.dumps({"whole": knowledge(Parts((*RULES, *METHODS))), "presets": presets}, ensure_ascii=False)
    scripts = "\n".join(f'<script src="../_static/optimizers/{name}.js"></script>' for name in (*WIDGET, "alone"))
    return PAGE.format(title=html.escape(title), data=html.escape(data), scripts=scripts)
