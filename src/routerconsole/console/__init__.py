"""The terminal console: draws snapshots of the Control port and sends it commands; it owns no router state."""
