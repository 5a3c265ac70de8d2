"""Telling each person, as it happens, of what they may see."""
