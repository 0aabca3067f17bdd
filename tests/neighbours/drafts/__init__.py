"""Wagtail keeps drafts of rows as text, and makes rows of them again."""
