"""The noise that the widget adds to gradients: normal numbers from a seed and the number of the step, and nothing else.

A counter is hashed, so step 1,000 has its noise without the 999 before it, and every method meets the same one.
``static/optimizers/core.js`` says the same in JavaScript; the two differ in the last digits of logarithm and cosine.
"""

from __future__ import annotations

import math

_WORD = 0xFFFFFFFF


def scramble(x: int) -> int:
    """A one-to-one map of 32-bit numbers that leaves no pattern (``lowbias32`` by C. Wellons, 2018)."""
    x = ((x ^ x >> 16) * 0x7FEB352D) & _WORD
    x = ((x ^ x >> 15) * 0x846CA68B) & _WORD
    return x ^ x >> 16


def normals(seed: int, t: int) -> tuple[float, float]:
    """Two independent standard normal numbers for step `t` ≥ 1, by the transform of Box and Muller."""
    first, second = ((scramble((scramble(seed) + 2 * t + k) & _WORD) + 0.5) / 2**32 for k in (0, 1))
    radius = math.sqrt(-2 * math.log(first))
    return radius * math.cos(2 * math.pi * second), radius * math.sin(2 * math.pi * second)
