"""Administering the installation: organisations, their quotas and states, and who may do that."""
