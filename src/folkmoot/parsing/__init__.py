"""Reading files in processes that can be killed, and finding out what language they are in."""
