"""The optimizers at play: a widget that runs all ten in the reader's browser, and what Python hands to it.

`surfaces` has the functions, `presets` what a widget begins with, `directive` puts one, or the phase diagram of
momentum and NAG, on a page; the programs are in ``static/optimizers``, plain JavaScript without dependencies.
"""
