"""Configuration: reading, validating, resolving secrets, and turning it into the registry. Knows no HTTP and no clock."""
