"""Removing what is left of an organisation."""
