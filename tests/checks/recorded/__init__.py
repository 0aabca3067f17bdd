"""The migrations of a project, before it renames a field."""
