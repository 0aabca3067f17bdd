"""django-guardian makes a user after each flush: here, one with an encrypted field."""
