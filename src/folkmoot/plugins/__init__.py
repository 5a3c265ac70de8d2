"""Plugins: finding them, checking them, keeping a broken one from breaking the rest."""
