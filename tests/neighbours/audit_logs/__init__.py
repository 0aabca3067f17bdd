"""django-auditlog looks at each field of what is saved, also while a dump is loaded."""
