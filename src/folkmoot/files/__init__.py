"""Uploaded bytes, stored encrypted, once for each content."""
