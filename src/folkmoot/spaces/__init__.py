"""Where people gather: spaces and their members."""
