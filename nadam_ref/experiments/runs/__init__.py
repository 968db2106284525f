"""A run: its specification, its record, and how it is made, alone or in a sweep."""
