"""Folkmoot: an AI assistant platform that an organisation runs itself."""
