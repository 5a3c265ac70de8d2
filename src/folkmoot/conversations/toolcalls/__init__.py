"""What a model may call, what its asker says to that, and the tools that are our own."""
