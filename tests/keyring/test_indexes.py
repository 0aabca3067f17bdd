"""MACs of blind indexes are made in the keyring, by what is evicted and refused as keys are."""

import hashlib
import hmac
import pickle
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from envelope_fields import databases, keyring
from envelope_fields.crypto.blind_index import value_part
from envelope_fields.databases import transactions
from envelope_fields.exceptions import (
    IndexNotReady,
    KeyAccessDenied,
    MasterKeyUnusable,
    RootKeyRefused,
)
from envelope_fields.fields.index import macs
from envelope_fields.keyring import cache, indexes, materials, uses
from envelope_fields.lifecycle import create_master_key, disable, enable, rotate_master_key
from envelope_fields.models import (
    BlindIndex,
    BlindIndexKey,
    IndexState,
    KeyUsage,
    MasterKey,
    MasterKeyVersion,
)
from envelope_fields.policy import acting_as
from tests.keyring.indexed import LABEL, index, term
from tests.models import Note

pytestmark = pytest.mark.django_db

ADA = term(b"ada")


def value(of=None, looked_for=ADA):
    return macs.index_value(of or index(), "search", looked_for, "default")


def search(of=None, looked_for=ADA):
    [found] = macs.values_looked_for(of or index(), "search", [looked_for], "default")
    return found


def material_of(version_id):
    [material] = [m for c, m in materials._plaintext.items() if c.version_id == version_id]
    return material


def test_the_bytes(transactional_db):
    made = value()
    assert len(made) == 24
    version_id = made[16:]
    message = index().domain.encode() + value_part([b"ada"])
    expected = hmac.new(material_of(version_id), message, hashlib.sha256).digest()
    assert made[:16] == expected[:16]
    assert version_id == bytes(MasterKeyVersion.objects.get(master_key__alias="search").version_id)
    assert made == value() == search()


def test_what_differs_has_another_mac():
    one = value()
    others = [
        value(looked_for=term(b"Ada")),
        value(looked_for=term(b"a", b"da")),
        value(looked_for=term(b"ada", scope=(("tenant", b"\x011"),))),
        value(index("tests.note.other_index")),
        value(index("tests.note.third_index", shared="names")),
        value(index("tests.note.fourth_index", "email")),
    ]
    assert len({one[:16], *(other[:16] for other in others)}) == 7


def test_indexes_that_share_a_name_share_their_values():
    one, other = (index(f"tests.note.{name}", shared="names") for name in "ab")
    assert value(one) == value(other)
    rotate_master_key("search")
    assert value(index("tests.note.c", shared="names")) == value(one)


def test_it_is_asked_for_once(transactional_db, django_assert_num_queries):
    value(), search()
    with django_assert_num_queries(0):
        value(), search()


def test_eviction_drops_it(transactional_db):
    value()
    table = cache.known.table
    [absorbed] = table.absorbed.values()
    assert "search" not in repr(absorbed[0])
    with pytest.raises(TypeError):
        pickle.dumps(absorbed[0])
    keyring.evict()
    assert not table.absorbed
    assert not cache.known.table.absorbed


def test_dropped_material_drops_it():
    made = value()
    materials._forget_derived(made[16:])  # as where a root key refuses it
    assert not cache.known.table.absorbed
    assert not cache.known.table.pinned


def test_its_state_reaches_it(transactional_db):
    made = value(), search()
    disable("search")
    for use in (value, search):
        with pytest.raises(MasterKeyUnusable, match=r"text_index: .*is unusable"):
            use()
    enable("search")
    assert (value(), search()) == made


def test_rotation_changes_no_index(transactional_db):
    made = value()
    rotate_master_key("search")
    assert value() == made == search()


def test_a_key_of_another_usage():
    create_master_key("records")
    other = index(key="records")
    with pytest.raises(MasterKeyUnusable, match="takes one to generate and verify MACs"):
        macs.index_value(other, "records", ADA, "default")
    assert not BlindIndex.objects.exists()


@pytest.mark.parametrize("state", [IndexState.FILLING, IndexState.VERIFIED, IndexState.RETIRED])
def test_lookups_ask_one_that_is_reading_alone(state):
    made = value()
    search()
    long_ago = timezone.now() - timedelta(days=1)
    BlindIndex.objects.update(state=state, state_changed_at=long_ago)
    with pytest.raises(IndexNotReady, match=f"{LABEL} is {state.label}"):
        search()
    assert value() == (None if state == IndexState.RETIRED else made)
    assert not macs.is_reading(index(), "search", "default")


def test_one_that_is_retired_is_written_until_no_process_asks_it():
    made = value()
    BlindIndex.objects.update(state=IndexState.RETIRED, state_changed_at=databases.now())
    assert value() == made
    with pytest.raises(IndexNotReady, match="is retired"):
        search()


def test_a_changed_normalizer_is_refused():
    value()
    BlindIndex.objects.update(fingerprint="0" * 32)
    for use in (value, search):
        with pytest.raises(IndexNotReady, match=r"casefold.*another name"):
            use()


def test_a_key_that_serves_no_fields_is_refused_each_time(transactional_db):
    value()
    keyring.evict()
    column = macs.column_of(index())
    for _ in range(2):
        with pytest.raises(MasterKeyUnusable, match="managed by the customer"):
            indexes.values(
                uses.WRITE_INDEX, column, "search", macs._part, [ADA], "default", "customer"
            )
        assert indexes.known_value(LABEL, "search", macs._part, ADA) is None


def test_a_user_needs_a_grant():
    create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)
    MasterKey.objects.filter(alias="search").update(managed_by="customer")
    made = value()
    ben = User.objects.create(username="ben")
    with acting_as(ben):
        for use, action in ((value, "generate_mac"), (search, "verify_mac")):
            with pytest.raises(KeyAccessDenied, match=f"may not {action} .* for {LABEL}"):
                use()
        key = MasterKey.objects.get(alias="search")
        key.grants.create(principal_type="auth.user", principal_id=ben.pk, actions=["verify_mac"])
        assert search() == made
        with pytest.raises(KeyAccessDenied):
            value()


class TestNotCommitted:
    """A pin that a rollback would take away, and what is written under it (law 3)."""

    @pytest.mark.django_db(databases=["default", "other"], transaction=True)
    def test_what_would_outlive_it(self):
        create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)
        with transaction.atomic():
            MasterKey.objects.update(description="changed")  # so that nothing is made beside this
            assert value()
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                macs.index_value(index(), "search", ADA, "other")
            transaction.set_rollback(True)
        assert not BlindIndexKey.objects.exists()
        assert not cache.known.table.absorbed

    def test_what_a_table_keeps(self, monkeypatch):
        """MyISAM has no transactions, and keeps what was written under the pin."""
        create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)
        monkeypatch.setattr(transactions, "is_rolled_back", lambda *_: False)
        with transaction.atomic():
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                value()
            transaction.set_rollback(True)

    def test_a_rollback_leaves_nothing(self):
        create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)
        with transaction.atomic():
            value()
            transaction.set_rollback(True)
        assert not cache.known.table.indexes
        assert not cache.known.table.pinned
        with pytest.raises(indexes.IndexNotBegun):
            indexes.values(uses.SEARCH_INDEX, macs.column_of(index()), "search", bytes, [b""])


def test_rows_keep_an_index_from_reading():
    Note.objects.create(text="there before")
    value()
    assert BlindIndex.objects.get().state == IndexState.FILLING
    with pytest.raises(IndexNotReady):
        search()


def test_root_keys_that_refuse(monkeypatch):
    def refuse(row):
        raise RootKeyRefused("disabled")

    value()
    keyring.evict()
    monkeypatch.setattr("envelope_fields.keyring.opening.unwrapped", refuse)
    with pytest.raises(RootKeyRefused, match=r"text_index"):
        value()


def test_a_process_that_knows_nothing(django_assert_max_num_queries):
    value()
    keyring.evict()
    with django_assert_max_num_queries(4):
        value()
