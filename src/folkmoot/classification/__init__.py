"""Data classes: how confidential the text of a space is, and what a model must have to see it."""
