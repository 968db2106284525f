"""What an executed notebook carries for its readers beside what it shows."""

#: The mime type under which a figure or a named table carries what a reader may download.
CARGO = "application/vnd.nadam-ref+json"
