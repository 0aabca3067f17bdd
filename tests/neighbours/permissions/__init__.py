"""django-guardian makes a user after each migration and flush: here, one with an encrypted field."""
