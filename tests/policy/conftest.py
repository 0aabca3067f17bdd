import pytest
from django.contrib.auth.models import User

from envelope_fields import keyring
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import KeyGrant
from envelope_fields.policy import attempts, on_denied


@pytest.fixture
def lab(db):
    """The customer-managed key of `LabNote.text`."""
    keyring.evict()
    return create_master_key("lab")


@pytest.fixture
def ann(db):
    return User.objects.create_user("ann", password="secret")


@pytest.fixture
def bob(db):
    return User.objects.create_user("bob")


@pytest.fixture
def granted():
    """Makes rows of grants, also such as `grants.grant()` would refuse."""

    def granted(key, to, *actions, **columns):
        return KeyGrant.objects.create(
            master_key=key,
            principal_type=to._meta.label_lower,
            principal_id=str(to.pk),
            actions=[str(action) for action in actions],
            **columns,
        )

    return granted


@pytest.fixture
def heard(monkeypatch):
    """The denials that a listener hears."""
    monkeypatch.setattr(attempts, "_listeners", [])
    told = []
    on_denied(told.append)
    on_denied(told.append)  # twice is once
    return told
