"""OpenAI, and every service that speaks its Chat Completions dialect, for Folkmoot."""
