"""Organisations that share one installation without ever seeing each other."""
