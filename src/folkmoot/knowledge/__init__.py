"""Collections of documents: reading them, cutting them, finding the right passage."""
