"""Textual widgets that only draw lines and report clicks."""
