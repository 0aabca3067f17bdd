"""Root keys: they wrap master keys and live outside the database. One backend a module."""
