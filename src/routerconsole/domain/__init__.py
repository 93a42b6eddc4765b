"""Pure types every layer shares; imports nothing of the project and does no I/O."""
