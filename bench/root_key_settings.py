"""Settings of the benchmark of root keys: one that counts how often it is asked."""

from bench.settings import DATABASES, DEFAULT_AUTO_FIELD, ENVELOPE_FIELDS, INSTALLED_APPS, USE_TZ  # noqa: F401 - the rest is the same

ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["BACKEND"] = "tests.keyring.calls.CountedRootKey"  # type: ignore[index]  # a dict of settings
