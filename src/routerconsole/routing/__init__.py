"""The decision core: pure functions of a request, a registry snapshot, a board and a time; no clock, dice or I/O."""
