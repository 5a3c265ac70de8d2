"""OpenAI's API in front of every model and assistant, so that programs written for it work here."""
