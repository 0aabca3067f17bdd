"""Root keys in AWS KMS, which is asked by boto3."""

try:
    import boto3  # noqa: F401
except ImportError as error:
    raise ImportError(
        'a root key in AWS KMS needs boto3: pip install "django-envelope-fields[aws]"'
    ) from error

from envelope_fields.root_keys.aws.kms import AwsKmsRootKey

__all__ = ["AwsKmsRootKey"]
