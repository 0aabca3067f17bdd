"""django-import-export writes rows into files, and files into rows."""
