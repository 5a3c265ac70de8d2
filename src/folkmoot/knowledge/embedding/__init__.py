"""Vectors of chunks: made, kept by space, searched, and moved from one model to another."""
