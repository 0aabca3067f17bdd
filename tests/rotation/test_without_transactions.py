"""Jobs over a table that keeps what is rolled back."""

from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from envelope_fields import rotation
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, RotationState
from envelope_fields.rotation import rewrap
from tests.models import LabNote
from tests.rotation import left, numbers_of
from tests.stored import stored, version_of

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif(connection.vendor != "mysql", reason="MariaDB alone has such tables"),
]


@pytest.fixture(autouse=True)
def lab():
    create_master_key("lab")


@contextmanager
def without_transactions(model):
    def alter(engine):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {model._meta.db_table} ENGINE = {engine}")

    alter("MyISAM")
    try:
        yield
    finally:
        model.objects.all().delete()
        alter("InnoDB")


@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_values_move_to_the_current_version(kind):
    with without_transactions(LabNote):
        rows = LabNote.objects.bulk_create([LabNote(text=f"{n}") for n in range(5)])
        rotate_master_key("lab")
        run = rotation.run("lab", kind=kind, limits=rotation.Limits(batch_size=2))
        assert run.state == RotationState.COMPLETED
        assert numbers_of(run) == (5, 5, 0)
        assert left("lab") == 0
        assert [note.text for note in LabNote.objects.order_by("pk")] == [row.text for row in rows]


@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_values_do_not_move_to_a_version_that_can_vanish(kind):
    with without_transactions(LabNote):
        note = LabNote.objects.create(text="kept")
        before = stored(note, "text")
        with pytest.raises(MasterKeyUnusable, match="not committed"), transaction.atomic():
            rotate_master_key("lab")
            rotation.run("lab", kind=kind)
        assert stored(note, "text") == before
        assert version_of(before) == bytes(
            MasterKey.objects.get(alias="lab").current_version.version_id
        )
        assert LabNote.objects.get().text == "kept"


def test_a_value_that_another_process_writes_meanwhile(monkeypatch):
    """Without locks of rows, the swap itself compares."""
    with without_transactions(LabNote):
        first, second = (LabNote.objects.create(text=text) for text in ("first", "second"))
        rotate_master_key("lab")
        process = rewrap.Rewrap.process

        def written_meanwhile(self, values):
            outcome = process(self, values)
            monkeypatch.setattr(rewrap.Rewrap, "process", process)
            LabNote.objects.filter(pk=first.pk).update(text="newer")
            return outcome

        monkeypatch.setattr(rewrap.Rewrap, "process", written_meanwhile)
        run = rotation.run("lab")
        assert run.state == RotationState.COMPLETED
        assert left("lab") == 0
        assert LabNote.objects.get(pk=first.pk).text == "newer"
        assert LabNote.objects.get(pk=second.pk).text == "second"
