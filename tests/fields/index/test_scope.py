"""Equality that is confined to the tenant of a row, and indexes under a key of each tenant."""

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import IntegrityError, connection
from django.db.transaction import atomic
from django.utils.functional import SimpleLazyObject

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import Scoped
from envelope_fields.models import BlindIndex, IndexState, MasterKey
from tests.models.indexed import Corridor, Member, Stay, Tenant

A, OTHER_A, B = "Ada@example.org", "ada@EXAMPLE.org", "ben@example.org"


@pytest.fixture
def one():
    return Tenant.objects.create(name="one")


@pytest.fixture
def two():
    return Tenant.objects.create(name="two")


@pytest.fixture
def ada(one):
    return Member.objects.create(tenant=one, email=A, phone="123-45")


def found(**lookups):
    return list(Member.objects.filter(**lookups))


def indexes():
    return set(Member.objects.values_list("email_index", flat=True))


def test_what_is_looked_for_says_where(ada, one, two):
    assert found(email=Scoped(OTHER_A, tenant=one)) == [ada]
    assert found(email=Scoped(OTHER_A, tenant=one.pk)) == [ada]
    assert found(email=Scoped(OTHER_A, tenant_id=one.pk)) == [ada]
    assert found(email=Scoped(A, tenant=two)) == []
    assert found(email__in=[Scoped(A, tenant=one), Scoped(A, tenant=two)]) == [ada]
    assert found(email__isnull=False) == [ada]


def test_a_scope_by_a_foreign_key_to_another_column():
    corridor = Corridor.objects.create(code="c")
    stay = Stay.objects.create(corridor=corridor, contact=A)
    for where in (corridor, SimpleLazyObject(lambda: corridor), "c"):
        assert list(Stay.objects.filter(contact=Scoped(OTHER_A, corridor=where))) == [stay]


@pytest.mark.parametrize(
    "term",
    [
        A, Scoped(A), Scoped(A, other=1), Scoped(A, tenant=1, other=1), Scoped(A, tenant=None),
        Scoped("", tenant=1), Scoped(A, tenant="x"), Scoped(A, tenant=BlindIndex(pk=1)), [A],
    ],
)  # fmt: skip
def test_without_a_scope_nothing_is(ada, term):
    with pytest.raises((FieldError, ValidationError, ValueError)) as caught:
        found(email=term)
    assert "ample" not in str(caught.value)


def test_equality_does_not_show_across_tenants(ada, two):
    Member.objects.create(tenant=two, email=A)
    assert len(indexes()) == 2


def test_uniqueness_is_within_the_scope(ada, one, two):
    Member.objects.create(tenant=two, email=A)
    with pytest.raises(IntegrityError), atomic():
        Member.objects.create(tenant=one, email=OTHER_A)
    with pytest.raises(ValidationError) as caught:
        Member(tenant=one, email=OTHER_A).full_clean()
    assert list(caught.value.message_dict) == ["email"]
    Member(tenant=one, email=B).full_clean()
    with pytest.raises(ValueError, match="unique"):
        Member.objects.in_bulk([A], field_name="email")


def test_another_tenant_gets_another_index(ada, one, two):
    loaded = Member.objects.get()
    loaded.tenant = two
    loaded.save()
    assert found(email=Scoped(A, tenant=two)) == [ada]
    assert found(email=Scoped(A, tenant=one)) == []
    assert found(phone=Scoped("12345", tenant=two)) == [ada]


def test_what_would_take_the_one_without_the_other_is_refused(ada, two):
    for write in (
        lambda: Member.objects.update(tenant=two),
        lambda: Member.objects.update(email=B),
        lambda: Member.objects.update(email=B, tenant=two),
        lambda: Member.objects.bulk_update([Member(pk=ada.pk, email=B)], ["email"]),
    ):
        with pytest.raises(FieldError), atomic():
            write()
    loaded = Member.objects.get()
    loaded.tenant, loaded.email = two, B
    for names in (["tenant"], ["email"]):
        with pytest.raises(FieldError), atomic():
            loaded.save(update_fields=names)
    assert Member.objects.get().email == A


def test_an_untouched_value_stays(ada, one):
    loaded = Member.objects.get()
    loaded.name = "new"
    before = indexes()
    loaded.save()
    assert indexes() == before
    loaded.email = B
    loaded.save(update_fields=["email"])
    assert found(email=Scoped(B, tenant=one)) == [ada]


def test_in_bulk(ada, one, two):
    Member.objects.bulk_create(
        [Member(tenant=two, email=A, phone="1"), Member(tenant=two, email=B)]
    )
    assert len(found(email=Scoped(A, tenant=two))) == 1
    assert len(found(phone=Scoped("1", tenant=two))) == 1
    ada.email = B
    Member.objects.bulk_update([ada], ["email", "phone", "tenant"])
    assert found(email=Scoped(B, tenant=one), phone=Scoped("12345", tenant=one)) == [ada]


def test_get_or_create(ada, one, two):
    assert Member.objects.get_or_create(email=Scoped(OTHER_A, tenant=one)) == (ada, False)
    made, is_made = Member.objects.get_or_create(
        email=Scoped(A, tenant=two), defaults={"tenant": two}
    )
    assert is_made
    assert Member.objects.get(email=Scoped(A, tenant=two)) == made
    assert made.email == A


def test_each_tenant_has_a_search_key_of_its_own(ada, one, two):
    Member.objects.create(tenant=two, email=A, phone="123-45")
    assert found(phone=Scoped("12345", tenant=one)) == [ada]
    keys = MasterKey.objects.filter(alias__startswith="search/")
    aliases = set(keys.values_list("alias", flat=True))
    assert aliases == {f"search/{one.pk}", f"search/{two.pk}"}
    ends = {bytes(each)[16:] for each in Member.objects.values_list("phone_index", flat=True)}
    assert len(ends) == 2


def test_the_term_and_its_scope_show_nothing(ada, one):
    rows = Member.objects.filter(email=Scoped("hidden@example.org", tenant=one))
    assert "hidden" not in str(rows.query) + repr(rows.query.where)
    assert repr(Scoped("hidden", tenant=1)) == "<Scoped>"
    rows.exists()
    assert "hidden" not in str(connection.queries)


def test_who_looks_in_another_scope_makes_no_key(ada, one, two):
    keys = MasterKey.objects.count()
    in_two = Scoped("12345", tenant=two)
    assert found(phone=in_two) == []
    assert found(phone__in=[in_two, Scoped("12345", tenant=one)]) == [ada]
    assert list(Member.objects.exclude(phone=in_two)) == [ada]
    Member(tenant=two, email=A, phone="12345").validate_constraints()
    assert MasterKey.objects.count() == keys
    Member.objects.create(tenant=two, email=B, phone="123-45")
    assert [each.email for each in found(phone=in_two)] == [B]


def test_an_index_that_is_filled_is_not_asked_in_another_scope(ada, two):
    BlindIndex.objects.filter(label="tests.member.phone_index").update(state=IndexState.FILLING)
    with pytest.raises(IndexNotReady):
        found(phone=Scoped("12345", tenant=two))
