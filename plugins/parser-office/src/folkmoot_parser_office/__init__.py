"""Word, PowerPoint and Excel files for Folkmoot."""
