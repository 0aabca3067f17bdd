"""django-tenants gives each tenant a schema: the same tables again, found by a search path."""
