"""A figure's SVG as a page loads it: half as large, and to the eye the same. Downloads keep what matplotlib writes."""

from __future__ import annotations

import re

from scour.scour import sanitizeOptions, scourString

#: Significant digits of a path's coordinates, which are points.
DIGITS = 5


def light(svg: str) -> str:
    """The SVG without metadata, comments and white space, with short names and rounded coordinates."""
    options = sanitizeOptions()
    options.digits = options.cdigits = DIGITS
    options.strip_comments = options.strip_ids = options.shorten_ids = options.remove_metadata = True
    options.strip_xml_prolog, options.indent_type, options.newlines, options.quiet = True, "none", False, True
    text = re.sub(r'\b([xy])="(-?\d+\.\d{3,})"', _rounded, scourString(svg, options))
    text = re.sub(r'<use transform="translate\((-?[\d.]+)\)" xlink:href=', _letter, text)
    return text.replace(" xlink:href=", " href=")


def _rounded(place: re.Match[str]) -> str:
    """Where a marker or a letter is put; the library leaves these as they are."""
    return f'{place[1]}="{float(place[2]):.2f}"'


def _letter(place: re.Match[str]) -> str:
    """Where a letter of a line is put, in hundredths of its size."""
    return f'<use x="{float(place[1]):.0f}" xlink:href='
