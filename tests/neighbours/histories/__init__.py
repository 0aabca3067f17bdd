"""django-simple-history keeps a row for each state of a row, in a model of its own."""
