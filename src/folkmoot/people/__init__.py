"""Administering people: invitations, groups, roles."""
