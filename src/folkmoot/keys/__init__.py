"""API keys: what programs sign in with, for a person or for one assistant."""
