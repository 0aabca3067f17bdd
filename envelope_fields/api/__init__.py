"""Keys over HTTP, for other programs: `path("api/", include("envelope_fields.api.urls"))`.

Rooms: `view` is what all endpoints have in common: who is `acting`, the `rights` that it takes, the
`problems` that are told, `pages`, `throttling`, `parsing`, and `etags` where two operators can
collide. `naming` knows what `{id}` means, `fields` what is taken from outside. Then there is a
module for each resource, and `schema` describes them all.
"""

from importlib.util import find_spec

_missing = [name for name in ("rest_framework", "drf_spectacular") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"envelope_fields.api needs {' and '.join(_missing)}, which the extra `api` installs: "
        '`pip install "django-envelope-fields[api]"`.'
    )
