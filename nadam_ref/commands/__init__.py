"""The commands of `nadam-ref`, a module each: `add` puts a command into the parser."""
