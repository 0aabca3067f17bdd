"""Models of the test project, one topic a module."""

from tests.models.notes import Note

__all__ = ["Note"]
