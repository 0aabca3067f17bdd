"""The commands: `manage.py`."""
