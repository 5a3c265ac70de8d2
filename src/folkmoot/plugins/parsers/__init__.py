"""The readers that come with the host: plain text, Markdown, HTML and CSV, written as any plugin would be."""
