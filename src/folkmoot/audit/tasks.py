"""Sealing new events."""
