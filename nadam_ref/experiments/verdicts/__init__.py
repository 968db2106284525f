"""Claims of the papers, judged by records."""
