"""Assistants: instructions, a model and collections; each save is an immutable version."""
