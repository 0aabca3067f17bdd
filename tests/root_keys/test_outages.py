"""The faults that every backend is tried with are rows of the page about outages."""

import pytest

from tests.root_keys.outages import error_of
from tests.root_keys.services import FAULTS

REACHED = "the service cannot be reached: network, proxy, firewall, DNS, TLS"
CREDENTIALS = "our credentials have expired, are missing, or are not accepted"
ROWS = {
    "key_disabled": "the service's key is disabled",
    "right_revoked": "the right to decrypt was taken away",
    "throttled": "the service limits requests",
    "timeout": "the service answers too slowly",
    "connection_reset": REACHED,
    "unreachable": REACHED,
    "credentials_expired": CREDENTIALS,
    "credentials_missing": CREDENTIALS,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_page_says_of_what_class_a_fault_is(fault):
    assert error_of(ROWS[fault]) is FAULTS[fault]
