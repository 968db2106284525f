"""The update as source text: `kernels.expression` evaluated on names instead of tensors.

What comes out is C++ and Python alike: one operation a line, in the order in which the expression makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch

from ..kernels import Coefficients, Prelude, expression, prepare
from ..rules import Rule


class Name:
    """A variable of the kernel. An operation on it adds a line to `lines` and gives the name of the result."""

    def __init__(self, text: str, lines: list[tuple[str, str]]) -> None:
        self.text, self.lines = text, lines

    def __str__(self) -> str:
        return self.text

    def _named(self, operation: str) -> Name:
        result = Name(f"x{len(self.lines)}", self.lines)
        self.lines.append((result.text, operation))
        return result

    def __add__(self, other: Name) -> Name:
        return self._named(f"{self} + {other}")

    def __sub__(self, other: Name) -> Name:
        return self._named(f"{self} - {other}")

    def __mul__(self, other: Name) -> Name:
        return self._named(f"{self} * {other}")

    def __truediv__(self, other: Name) -> Name:
        return self._named(f"{self} / {other}")

    def __neg__(self) -> Name:
        return self._named(f"-{self}")

    def sqrt(self) -> Name:
        """√, `square_root` in the kernel."""
        return self._named(f"square_root({self})")

    def abs(self) -> Name:
        """The absolute value, `absolute` in the kernel."""
        return self._named(f"absolute({self})")

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """torch.maximum is `maximum` in the kernel: it passes NaN on. No other function has a spelling."""
        if function is not torch.maximum:
            return NotImplemented
        x, y = args
        return x._named(f"maximum({x}, {y})")


class Spelling(NamedTuple):
    """The lines (variable, operation) of one update, what it reads of p, g, m, n, and what it writes back."""

    lines: list[tuple[str, str]]
    reads: tuple[str, ...]
    writes: Mapping[str, str]


def spell(rule: Rule, prelude: Prelude) -> Spelling:
    """One update of the elements p, g, m and n with the numbers named as in `Coefficients`."""
    lines: list[tuple[str, str]] = []

    def name(text: str) -> Any:
        return Name(text, lines)

    k = Coefficients(*map(name, Coefficients._fields))
    m = name("m") if rule.momentum != "none" else None
    n = name("n") if rule.norm != "none" else None
    p, g = prepare(prelude, name("p"), name("g"), k)
    after = expression(rule, p, g, m, n, k)
    reads = ("p", "g", *("m" for _ in [m] if m), *("n" for _ in [n] if n))
    return Spelling(lines, reads, {old: str(new) for old, new in zip("pmn", after, strict=True) if new is not None})
