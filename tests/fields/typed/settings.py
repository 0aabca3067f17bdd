"""Settings for the plugin of django-stubs."""

SECRET_KEY = "of no use"
INSTALLED_APPS: list[str] = []
