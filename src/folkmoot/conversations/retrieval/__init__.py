"""Whether a message is searched for, by which words, and what of the knowledge goes along."""
