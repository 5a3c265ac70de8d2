"""Sending what people wait for by mail."""
