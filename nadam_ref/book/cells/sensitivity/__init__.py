"""Chapter 25: what an optimizer changes beside other choices, where its look-ahead matters, what a budget can tell."""
