"""The memory-bandwidth bound on a CPU: kernels that move what an update moves, and compute next to nothing.

They are compiled as the updates are, walk the same tables, and use as many threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..kernels import Coefficients, Lists
from ..rules import Rule
from . import cpu
from .codegen import Spelling
from .pointers import spans

#: With these the kernels of `moving` leave every finite number as it is, which the compiler cannot know.
ZEROS = Coefficients(*[0.0] * len(Coefficients._fields))

#: The kernels of the STREAM benchmark (McCalpin), into p. As there, p is not read, though a processor may fetch it.
STREAM = {
    "copy": Spelling([], ("g",), {"p": "g"}),
    "scale": Spelling([("x0", "gamma * g")], ("g",), {"p": "x0"}),
    "add": Spelling([("x0", "g + m")], ("g", "m"), {"p": "x0"}),
    "triad": Spelling([("x0", "gamma * m"), ("x1", "g + x0")], ("g", "m"), {"p": "x1"}),
}


def moving(rule: Rule) -> Spelling:
    """Reads and writes what the rule's update does; γ g is added to each number that is written."""
    kept = ["m"] * (rule.momentum != "none") + ["n"] * (rule.norm != "none")
    sums = {x: f"x{i}" for i, x in enumerate(["p", *kept], start=1)}
    lines = [("x0", "gamma * g"), *((name, f"{x} + x0") for x, name in sums.items())]
    return Spelling(lines, ("p", "g", *kept), sums)


def walk(spelling: Spelling, lists: Lists) -> Callable[[], None]:
    """The kernel of a spelling over all of the lists' memory, at each call. θ, g, m and n of one layout and one dtype.

    Raises NoKernelError where there is no C++ compiler, or it fails; ValueError for tensors with gaps in memory.
    """
    table, rest = spans(lists)
    if rest[0]:
        raise ValueError(f"{len(rest[0])} of {len(lists[0])} tensors do not lie in memory as a kernel reads them")
    first = lists[0][0]
    return partial(cpu.compiled(spelling, first.dtype), table, [ZEROS], first.device)
