"""The log of what happened: sealed against tampering, read for a stated reason, exported."""
