"""The optimizers at play: a widget that runs all ten in the reader's browser, and what Python tells it.

`surfaces` has the functions, `presets` what a widget begins with, `directive` puts one on a page; the program itself is
in ``static/optimizers``, plain JavaScript without dependencies.
"""
