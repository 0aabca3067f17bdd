"""Keys over HTTP, for other programs: `path("api/", include("envelope_fields.api.urls"))`.

`fields` are what is taken from outside, `problems` are the errors, `requests` is how a request
comes in, and `views` what all views have in common. Then there is a module for each resource,
with its views and the shapes of its JSON; `operations` makes its views of what the registry of
operations has. Views describe themselves with `schema.endpoint`.
"""

from importlib.util import find_spec

_missing = [name for name in ("rest_framework", "drf_spectacular") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"envelope_fields.api needs {' and '.join(_missing)}, which the extra `api` installs: "
        '`pip install "django-envelope-fields[api]"`.'
    )
