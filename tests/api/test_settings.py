"""The settings of the API."""

import pytest
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration

pytestmark = pytest.mark.any_database


def test_data_operations_are_off(settings):
    settings.ENVELOPE_FIELDS = {}
    assert not configuration().api.data_operations
    settings.ENVELOPE_FIELDS = {"API": {}}
    assert not configuration().api.data_operations


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"DATA_OPERATIONS": "True"}, 'ENVELOPE_FIELDS["API"]["DATA_OPERATIONS"] must be True'),
        ({"DATA": True}, "no entry 'DATA'. Valid: DATA_OPERATIONS"),
        (True, 'ENVELOPE_FIELDS["API"] must be a dictionary'),
        (None, "must be a dictionary"),
    ],
)
def test_what_cannot_be_meant(settings, given, words):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "API": given}
    with pytest.raises(ImproperlyConfigured) as error:
        configuration()
    assert words in str(error.value)
