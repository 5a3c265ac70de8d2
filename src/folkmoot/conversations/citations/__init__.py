"""From markers to places in documents, and whether those bear the sentences out."""
