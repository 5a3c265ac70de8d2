"""Golden questions: what must be found, and how well it is, run after run."""
