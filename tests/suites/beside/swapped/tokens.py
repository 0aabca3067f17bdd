"""django-otp's static tokens, encrypted."""

from swapped.fields import swapped


@swapped("otp_static.StaticToken")
def encrypted():
    from envelope_fields.fields import BlindIndexField, EncryptedCharField

    return {"token": EncryptedCharField, "token_index": BlindIndexField("token")}
