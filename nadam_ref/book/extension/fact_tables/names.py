"""What the symbols and the optimizers are called elsewhere, from `names.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from IPython.display import Markdown

from .layout import fact_table


@cache
def _names() -> Mapping[str, Any]:
    return yaml.safe_load((Path(__file__).parents[1] / "names.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _symbols() -> Markdown:
    rows = [
        [
            f"[${x['symbol']}$]{{#symbol-{x['id']}}}",
            x["what"],
            x["range"],
            x["papers"],
            ", ".join(f"`{name}`" for name in x["torch"]) or "–",
        ]
        for x in _names()["symbols"]
    ]
    header = ["symbol", "what it is", "range", "the papers", "PyTorch"]
    return fact_table(header, rows, "lllll", "symbols", "The symbols, and what others call them.")


def _optimizers() -> Markdown:
    rows = [
        [f"`{name}`", report, "–" if torch == "–" else f"`{torch}`"]
        for name, (report, torch) in _names()["optimizers"].items()
    ]
    header = ["here", "the report", "`torch.optim`"]
    return fact_table(header, rows, "lll", "optimizer-names", "The optimizers, and what others call them.")


BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    "symbols": _symbols,
    "optimizers": _optimizers,
}
