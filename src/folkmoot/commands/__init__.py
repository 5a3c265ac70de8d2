"""Groups of commands, each in a file of its own; `cli` puts them together."""
