"""The readers that come with the host: text, Markdown, HTML, CSV, JSON and XML, written as any plugin would be."""
