"""What happened: the log of events, and the socket that tells of them as they happen."""
