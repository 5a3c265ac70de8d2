"""Writing an answer in rounds of model and tools, to its end whatever happens; and reading it meanwhile."""
