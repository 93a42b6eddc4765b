"""The command line: parses, calls one module per command group, maps failures to exit codes."""
