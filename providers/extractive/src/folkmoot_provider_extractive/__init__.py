"""Answers from the passages themselves, without a language model, a key or a network."""
