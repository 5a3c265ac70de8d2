"""Reading websites into collections: politely, again when they change, and with a report of every page."""
