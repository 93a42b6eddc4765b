"""Textual screens: where the panes of a view stand."""
