"""Full text: the words of chunks, kept as postings in segments, and ranked by BM25."""
