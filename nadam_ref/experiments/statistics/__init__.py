"""Statistics of records: summaries, intervals, tests."""
