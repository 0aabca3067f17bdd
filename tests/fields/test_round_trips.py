"""Any values of a type, written in bulk: what goes in comes out."""

from datetime import UTC
from decimal import Decimal
from functools import cache
from ipaddress import ip_address

import pytest
from django.utils.ipv6 import clean_ipv6_address
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.fields.family import FAMILY, exactly

pytestmark = pytest.mark.django_db(transaction=True)


def address(number):
    """Return the address of a number of 128 bits, as Django writes it."""
    return clean_ipv6_address(str(ip_address(number.to_bytes(16))))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY = {
    **dict.fromkeys(("Char", "Email", "URL", "Slug", "FilePath"), TEXT),
    "Integer": st.integers(-(2**31), 2**31 - 1),
    "SmallInteger": st.integers(-(2**15), 2**15 - 1),
    "BigInteger": st.integers(-(2**63), 2**63 - 1),
    "PositiveInteger": st.integers(0, 2**31 - 1),
    "PositiveSmallInteger": st.integers(0, 2**15 - 1),
    "PositiveBigInteger": st.integers(0, 2**63 - 1),
    "Decimal": st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2),
    "Float": st.floats(),
    "Boolean": st.booleans(),
    "Date": st.dates(),
    "DateTime": st.datetimes(timezones=st.just(UTC)),
    "Time": st.times(),
    "Duration": st.timedeltas(),
    "UUID": st.uuids(),
    "GenericIPAddress": st.ip_addresses(v=4).map(str) | st.integers(0, 2**128 - 1).map(address),
    "Binary": st.binary(max_size=200),
}


@pytest.fixture
def tables(model):
    """Return a function that makes a model and its table, once for all examples."""
    return cache(lambda name: model(name, null=True))


@pytest.mark.parametrize("name", FAMILY)
@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(data=st.data())
def test_any_values(tables, name, data):
    kind = tables(name)
    values = data.draw(st.lists(st.none() | ANY[name], min_size=2, max_size=12))
    kind.objects.all().delete()
    kind.objects.bulk_create([kind(value=value) for value in values])
    assert all(map(exactly, kind.objects.order_by("pk").values_list("value", flat=True), values))
    rows = list(kind.objects.order_by("pk"))
    assert all(map(exactly, [row.value for row in rows], values))
    for row, value in zip(rows, reversed(values), strict=True):
        row.value = value
    kind.objects.bulk_update(rows, ["value"])
    found = kind.objects.order_by("-pk").values_list("value", flat=True)
    assert all(map(exactly, found, values))
