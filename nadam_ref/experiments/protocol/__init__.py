"""The protocol: what is run, as data, and the specifications of runs that follow from it."""
