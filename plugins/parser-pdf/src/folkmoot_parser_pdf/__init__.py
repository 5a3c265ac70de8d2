"""PDF for Folkmoot: text with page numbers, in reading order, bookmarks as headings."""
