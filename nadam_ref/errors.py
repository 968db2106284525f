"""What a person can act on."""

from __future__ import annotations

__all__ = ["NadamRefError"]


class NadamRefError(Exception):
    """Base of the errors that a person can act on: the message says what was wrong, with the value, and what to do.

    The command line shows it in one line, without a traceback. A wrong argument of an optimizer is a `ValueError` or
    `TypeError`, as in torch.
    """
