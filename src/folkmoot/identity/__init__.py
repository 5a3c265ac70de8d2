"""People: who they are, how they sign in, what their sessions may do."""
