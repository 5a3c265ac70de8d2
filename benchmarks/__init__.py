"""What we promise in figures, each measured beside a reference from the same run: `make bench`."""
