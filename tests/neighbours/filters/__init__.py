"""django-filter makes a filter for each field of a model, of the lookup that the field names."""
