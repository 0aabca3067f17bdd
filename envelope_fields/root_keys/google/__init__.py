"""A root key in Google Cloud KMS."""

try:
    import google_crc32c  # noqa: F401
    from google.auth import default  # noqa: F401
    from google.cloud import kms_v1  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'{error}: install the client, `pip install "django-envelope-fields[google]"`'
    ) from None

from envelope_fields.root_keys.google.root_key import GoogleKmsRootKey

__all__ = ["GoogleKmsRootKey"]
