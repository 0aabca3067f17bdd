"""django-reversion stores rows as text, in a table of its own, and puts them back."""
