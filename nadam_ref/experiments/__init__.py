"""The report's experiments: data → task → run → record → statistics. The optimizers never import this package."""
