"""moto's server, with ids of multi-Region keys as AWS has them. Run it with a port."""

import sys
from uuid import uuid4

from moto.kms import models, responses
from moto.kms.exceptions import NotFoundException
from moto.server import main


def key_id(multi_region=False):
    """Return 36 characters in both cases: moto's ciphertexts have no place for more."""
    return f"mrk-{uuid4().hex}" if multi_region else str(uuid4())


def validate(response, key_id):
    """Take ids of that form, too."""
    backend = response.kms_backend
    if backend.get_key_id(key_id) not in backend.keys:
        raise NotFoundException(f"Key '{key_id}' does not exist")


if __name__ == "__main__":
    models.generate_key_id = key_id
    responses.KmsResponse._validate_cmk_id = validate
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
