"""Signed records of how answers came to be, and edits of answers."""
