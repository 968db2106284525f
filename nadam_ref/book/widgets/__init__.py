"""The optimizers at play: a widget that runs all ten in the reader's browser, and what it gets from Python.

`surfaces` has the functions, `noise` what disturbs their gradients, `presets` what a widget begins with and each
method's best rate. `directive` puts a widget, or the phase diagram of momentum and NAG, on a page; `alone` makes the
page that others embed. The programs are in ``static/optimizers``, plain JavaScript without dependencies.
"""
