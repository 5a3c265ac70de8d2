"""Signing in elsewhere: an organisation's own directory or identity provider, through auth plugins."""
