"""From notebooks to the rendered book: execute, normalise, stage, render. Needs the extra `book`."""


class BookError(Exception):
    """The book cannot be built. The message is for the person who sees it: what was wrong, and what to do."""
