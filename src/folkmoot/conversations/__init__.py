"""Conversations: a question, its streamed answer, its citations."""
