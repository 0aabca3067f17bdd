"""Grants: handed out, taken away, and listed."""
