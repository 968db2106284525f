"""*When does it matter?*: an optimizer beside other choices, where its look-ahead matters, what a budget can tell."""
