"""Configuration: reading, validating, resolving secrets, building the registry. Knows no HTTP and no clock."""
