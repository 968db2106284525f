"""What the chapters' cells import: figures, tables, recorded runs."""
