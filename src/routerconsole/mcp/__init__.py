"""The MCP stdio server: exposed pools as tools for other programs. A client of the engine like any other.

The SDK (extra `mcp`) is imported by `server` only, which nothing imports before the command runs.
"""
