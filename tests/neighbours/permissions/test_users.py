"""The default key is there before the user who needs it, wherever our app stands."""

import pytest
from django.core.management import call_command
from guardian.utils import get_anonymous_user

from envelope_fields import testing
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.neighbours.permissions.models import User


def assert_that_the_user_is_readable():
    user = get_anonymous_user()
    assert user.phone == "none"
    version_id = testing.stored(user, "phone")[1:9]
    version = MasterKeyVersion.objects.get(master_key__alias="default")
    assert version_id == bytes(version.version_id)


@pytest.mark.django_db
def test_after_the_migrations():
    assert_that_the_user_is_readable()


@pytest.mark.django_db(transaction=True)
def test_after_each_flush():
    for _ in range(2):
        before = MasterKey.objects.get()
        call_command("flush", interactive=False, verbosity=0)
        assert MasterKey.objects.get() != before
        assert_that_the_user_is_readable()


@pytest.mark.django_db(transaction=True)
def test_after_a_flush_that_sends_no_signal_and_a_migration():
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    assert not MasterKey.objects.exists()
    assert not User.objects.exists()
    call_command("migrate", verbosity=0)
    assert_that_the_user_is_readable()
