import pytest
from django.core.exceptions import FieldError
from django.db import connection, models, transaction
from django.db.models import F, Max, Value, Count, Subquery, OuterRef
from django.db.models.functions import Upper, Coalesce, Length
from tests.models import Note

pytestmark = pytest.mark.django_db

def raw(pk, col="text"):
    with connection.cursor() as c:
        c.execute(f"select {col} from tests_note where id=%s", [pk]); return c.fetchone()[0]

def test_roundtrip():
    n = Note.objects.create(text="hé", data={"a": [1, None]})
    assert bytes(raw(n.pk))[0] == 1 and len(raw(n.pk)) == 97 + 3
    m = Note.objects.get()
    assert m.text == "hé" and m.data == {"a": [1, None]}
    Note.objects.update(text="x")
    assert list(Note.objects.values_list("text", flat=True)) == ["x"]
    m.text = "bulk"; Note.objects.bulk_update([m], ["text", "data"])
    assert Note.objects.get().text == "bulk"
    for bad in (Value("x"), F("title"), Upper(Value("x")), F("text")):
        with pytest.raises(FieldError), transaction.atomic(): Note.objects.update(text=bad)
    for bad in (dict(text="x"), dict(text__contains="x"), dict(data__a=1), dict(data=None), dict(data__a__b=1), dict(text__in=["x"])):
        with pytest.raises(FieldError): list(Note.objects.filter(**bad))
    assert Note.objects.filter(text=None).count() == 0
    for bad in (Max("text"), Upper("text"), Coalesce("text", Value("x"))):
        with pytest.raises(FieldError, match="is encrypted"): list(Note.objects.annotate(z=bad))
    with pytest.raises(FieldError): Note.objects.aggregate(z=Max("text"))
    assert Note.objects.annotate(z=F("text")).values_list("z", flat=True)[0] == "bulk"
    assert Note.objects.annotate(z=Subquery(Note.objects.filter(pk=OuterRef("pk")).values("text")[:1]))[0].z == "bulk"
    assert Note.objects.values("text").union(Note.objects.values("text"))[0] == {"text": "bulk"}
    assert Note.objects.aggregate(c=Count("text"))["c"] == 1
    assert Note.objects.annotate(l=Length("text"))[0].l > 97
    Note.objects.update(data=Value(None, models.JSONField()))
    assert Note.objects.get().data is None and len(raw(m.pk, "data")) == 101
    Note.objects.update(data=None)
    assert raw(m.pk, "data") is None
    Note.objects.bulk_create([Note(text=f"{i}") for i in range(10)])
    assert Note.objects.count() == 11
