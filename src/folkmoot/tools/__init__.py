"""Tools of others: the organisation's tool servers (MCP), and which tools a space and an assistant may use."""
