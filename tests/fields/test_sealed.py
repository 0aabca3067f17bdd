"""What a loaded object holds, when it is opened, for whom, and what saving it leaves alone."""

import copy
import logging
import pickle
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import FieldDoesNotExist, FieldError, SynchronousOnlyOperation
from django.core.signals import request_finished
from django.db import connection, models, transaction
from django.db.models import F, OuterRef, Subquery
from django.db.models.query import ModelIterable
from django.forms import modelform_factory
from django.forms.models import model_to_dict
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    KeyAccessDenied,
    MalformedEnvelope,
    MasterKeyUnusable,
    OpeningNeedsThread,
)
from envelope_fields.fields import EncryptedQuerySet, EncryptedTextField, open_values
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.fields.prepared import Kept
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.grants import grant, revoke
from envelope_fields.lifecycle import create_master_key, disable, enable, rotate_master_key
from envelope_fields.models import AuditEvent, KeyGrant
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.policy.requests import handled
from envelope_fields.rotation import run
from tests.at_once import at_once
from tests.event_loops import in_event_loop
from tests.keyring import harvest_uses
from tests.keyring.clock import Clock
from tests.models import Child, LabNote, MaskedNote, Note, PlaceProxy, Restaurant, TenantNote
from tests.stored import store, stored, version_of

pytestmark = pytest.mark.django_db

VALUE = "The patient is fine."


def damaged(envelope):
    return envelope[:-1] + bytes([envelope[-1] ^ 1])


def sealed(instance, name="text"):
    """Whether an object holds a value that nobody has looked at."""
    return type(instance.__dict__[name]) is SealedValue


@pytest.fixture
def note():
    return Note.objects.create(title="t", text=VALUE, data={"a": [1]})


@pytest.fixture
def uses():
    harvest_uses()

    def opened():
        return sum(times for (_, action, _), times in harvest_uses().items() if action == "decrypt")

    return opened


class TestWaysToLoad:
    """Objects hold sealed values, and everything else opened ones."""

    @pytest.mark.parametrize(
        "load",
        [
            lambda: Note.objects.get(),
            lambda: Note.objects.all()[0],
            lambda: next(Note.objects.iterator()),
            lambda: Note.objects.only("text").get(),
            lambda: Note.objects.defer("data").get(),
            lambda: Note.objects.raw(f"SELECT * FROM {Note._meta.db_table}")[0],
            lambda: Note.objects.annotate(other=F("text")).get(),
            lambda: Note.objects.in_bulk().popitem()[1],
            lambda: Note.objects.union(Note.objects.all()).get(),
            lambda: Note.objects.select_for_update().get(),
            lambda: Note.objects.order_by("pk").reverse().first(),
            lambda: Child.objects.select_related("note").get().note,
            lambda: Child.objects.prefetch_related("note").get().note,
            lambda: Child.objects.get().note,
        ],
    )
    def test_objects(self, note, uses, load):
        Child.objects.create(note=note, text="c")
        with transaction.atomic():
            found = load()
        assert sealed(found)
        assert uses() == (1 if hasattr(found, "other") else 0)
        assert found.text == VALUE
        assert found.__dict__["text"] == VALUE
        assert type(found.__dict__["text"]) is str
        assert uses() == 1 - hasattr(found, "other") + hasattr(found, "other")

    @pytest.mark.parametrize(
        "load",
        [
            lambda: Note.objects.values("text")[0]["text"],
            lambda: Note.objects.values_list("text", flat=True)[0],
            lambda: Note.objects.values_list("text", named=True)[0].text,
            lambda: Note.objects.annotate(other=F("text")).get().other,
            lambda: Child.objects.values_list("note__text", flat=True)[0],
            lambda: (
                Child.objects.annotate(
                    other=Subquery(Note.objects.filter(pk=OuterRef("note")).values("text"))
                )
                .get()
                .other
            ),
            lambda: Note.objects.values("text").union(Note.objects.values("text"))[0]["text"],
        ],
    )
    def test_values(self, note, uses, load):
        Child.objects.create(note=note, text="c")
        assert type(load()) is str
        assert uses() == 1

    def test_inheritance_and_proxies(self, uses):
        Restaurant.objects.create(secret=VALUE, menu=["m"])
        child = Restaurant.objects.get()
        assert sealed(child, "secret")
        assert sealed(child, "menu")
        proxy = PlaceProxy.objects.get()
        assert sealed(proxy, "secret")
        assert uses() == 0
        assert (child.secret, child.menu, proxy.secret) == (VALUE, ["m"], VALUE)

    def test_null_and_deferred(self):
        Note.objects.create(text="x", data=None)
        assert Note.objects.get().data is None
        deferred = Note.objects.defer("text").get()
        assert deferred.get_deferred_fields() == {"text"}
        assert deferred.text == "x"

    def test_del_defers(self, note):
        found = Note.objects.get()
        del found.text
        assert found.get_deferred_fields() == {"text"}
        assert found.text == VALUE
        with pytest.raises(AttributeError):
            del Note(text="x").missing
        unsaved = Note()
        del unsaved.text
        with pytest.raises(AttributeError):
            del unsaved.text

    def test_refreshing(self, note):
        found = Note.objects.get()
        Note.objects.filter(pk=note.pk).update(text="new")
        found.refresh_from_db()
        assert found.text == "new"

    @pytest.mark.skipif("not hasattr(models, 'FETCH_PEERS')", reason="fetch modes came with 6.1")
    def test_fetch_modes(self, note, uses, django_assert_num_queries):
        Note.objects.create(text="other")
        first, second = Note.objects.fetch_mode(models.FETCH_PEERS).defer("text").order_by("pk")
        with django_assert_num_queries(1):
            assert first.text == VALUE
            assert sealed(second)
            assert second.text == "other"
        assert uses() == 2

    @isolate_apps("tests")
    def test_the_recipe_for_loaded_values(self, note):
        class Loaded(Note):
            class Meta:
                app_label = "tests"
                proxy = True

            @classmethod
            def from_db(cls, db, field_names, values, **options):  # 6.1 has more of them
                instance = super().from_db(db, field_names, values, **options)
                instance._loaded_values = dict(zip(field_names, values, strict=True))
                return instance

        found = Loaded.objects.get()
        assert found._loaded_values["text"] == found.text
        found.text = "new"
        assert found._loaded_values["text"] != found.text
        assert found._loaded_values["text"] == VALUE


class TestAsAPlainField:
    def test_copies(self, note, uses):
        found = Note.objects.get()
        for made in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
            assert sealed(made)
            assert uses() == 0
            assert made.text == VALUE
            assert made.data == {"a": [1]}
            assert uses() == 2
        assert sealed(found)

    def test_json_is_changed_in_place(self, note):
        found = Note.objects.get()
        found.data["a"].append(2)
        assert found.data is found.data
        found.save()
        assert Note.objects.get().data == {"a": [1, 2]}

    def test_forms(self, note):
        found = Note.objects.get()
        assert model_to_dict(found)["text"] == VALUE
        made = modelform_factory(Note, fields=["text"])
        assert not made({"text": VALUE}, instance=found).has_changed()
        assert made({"text": "new"}, instance=found).has_changed()

    def test_a_tracker_that_copies_the_dict(self, note, uses):
        found = Note.objects.get()
        before = copy.deepcopy(found.__dict__)
        assert before["text"] == found.__dict__["text"]
        assert uses() == 0
        found.text = "new"
        assert before["text"] != found.text
        assert uses() == 1
        assert before["text"] == VALUE
        assert {name for name in ("title", "text") if before[name] != getattr(found, name)} == {
            "text"
        }

    def test_only_equality_and_not_by_hash(self, note):
        bare = Note.objects.get().__dict__["text"]
        for use in (str, bool, len, iter, int, bytes, hash, "{}".format, lambda value: value < "x"):
            with pytest.raises(TypeError):
                use(bare)
        assert VALUE not in repr(bare)
        assert bare == VALUE
        assert bare != "other"
        assert (bare == None) is False  # noqa: E711 - this is what is tested

    def test_a_bare_one_is_opened_or_refused_where_it_is_written(self, note):
        bare = Note.objects.get().__dict__["text"]
        other = Note.objects.create(text="other")
        Note.objects.filter(pk=other.pk).update(text=bare)
        assert stored(other, "text") != stored(note, "text")
        assert Note.objects.get(pk=other.pk).text == VALUE
        with pytest.raises(TypeError), transaction.atomic():
            Note.objects.update(title=bare)
        Child.objects.create(note=note, text=bare)
        assert Child.objects.get().text == VALUE


class TestPickles:
    def test_nothing_that_was_not_looked_at(self, note):
        found = Note.objects.get()
        pickled = pickle.dumps(found)
        assert VALUE.encode() not in pickled
        assert b"andle" not in pickled
        assert stored(note, "text") in pickled
        assert pickle.loads(pickled).text == VALUE

    def test_what_was_looked_at(self, note):
        found = Note.objects.get()
        assert found.text
        assert VALUE.encode() in pickle.dumps(found)

    def test_a_cache(self, note):
        cache.set("note", Note.objects.get())
        assert sealed(cache.get("note"))
        assert cache.get("note").text == VALUE

    def test_it_opens_for_the_principal_who_looks_then(self, django_user_model):
        create_master_key("lab")
        ann, ben = (django_user_model.objects.create_user(name) for name in ("ann", "ben"))
        grant("lab", ann, ["encrypt", "decrypt"])
        with acting_as(ann):
            LabNote.objects.create(text=VALUE)
            pickled = pickle.dumps(LabNote.objects.get())
        with acting_as(ben), pytest.raises(KeyAccessDenied):
            _ = pickle.loads(pickled).text
        with acting_as(ann):
            assert pickle.loads(pickled).text == VALUE

    @pytest.mark.parametrize(
        "names", [("tests.Note", "missing"), ("tests.Note", "title"), ("tests.Missing", "text")]
    )
    def test_code_that_lacks_the_field(self, note, names):
        found = Note.objects.get()
        unpickled, (kind, _, *rest) = vars(found)["text"].__reduce__()
        vars(found)["text"] = unpickled(kind, names, *rest)
        found = pickle.loads(pickle.dumps(found))
        assert found.data == {"a": [1]}
        held = vars(found)["text"]
        for look in (lambda: found.text, lambda: held == VALUE, found.save):
            with pytest.raises(EnvelopeError, match="Load the object again"):
                look()
        with pytest.raises(TypeError, match="Load the object again"):
            str(held)
        assert held.__reduce__() == (unpickled, (kind, names, *rest))
        assert repr(Mask(held)) == f"<Mask of {'.'.join(names)}: {DOTS}>"

    def test_its_version_was_rotated_meanwhile(self, note):
        pickled = pickle.dumps(Note.objects.get())
        rotate_master_key("default")
        assert pickle.loads(pickled).text == VALUE


@pytest.mark.django_db(transaction=True)
class TestForWhom:
    @pytest.fixture
    def people(self, django_user_model):
        create_master_key("lab")
        ann, ben = (django_user_model.objects.create_user(name) for name in ("ann", "ben"))
        grant("lab", ann, ["encrypt", "decrypt"])
        with acting_as(ann):
            LabNote.objects.create(text=VALUE)
        return ann, ben

    def test_for_the_one_who_looks(self, people):
        ann, ben = people
        with acting_as(ann):
            found = LabNote.objects.get()
        with acting_as(ben), pytest.raises(KeyAccessDenied, match=r"ben.*loaded by .*ann"):
            _ = found.text
        with acting_as(ann):
            assert found.text == VALUE

    def test_loaded_by_one_who_may_not(self, people):
        ann, ben = people
        with acting_as(ben):
            found = LabNote.objects.get()
        with acting_as(ann):
            assert found.text == VALUE

    def test_nothing_is_asked_for_the_one_who_was_admitted(self, people, django_assert_num_queries):
        ann, _ = people
        with acting_as(ann):
            found = LabNote.objects.get()
        with acting_as(ann), django_assert_num_queries(0):
            assert found.text == VALUE

    def test_unbound_code_opens_it_for_the_one_who_was_admitted(self, people):
        ann, ben = people
        with handled():
            with acting_as(ann):
                found, other = LabNote.objects.get(), LabNote.objects.get()
            assert at_once(lambda: found.text) == [VALUE]
            with acting_as(ben):
                other = LabNote.objects.get()
            assert type(at_once(lambda: other.text)[0]) is KeyAccessDenied

    @pytest.mark.parametrize("change", ["evict", "revoke", "user", "state"])
    def test_until_the_handle_ends(self, people, change):
        ann, _ = people
        with handled():
            given = KeyGrant.objects.get()
            with acting_as(ann):
                found = LabNote.objects.get()
            if change == "evict":
                keyring.evict()
            elif change == "revoke":
                with acting_as(APPLICATION):
                    revoke(given)
            elif change == "user":
                ann.is_active = False
                ann.save()
            else:
                with acting_as(APPLICATION):
                    disable("lab")
                    enable("lab")
            with pytest.raises(KeyAccessDenied):
                _ = found.text

    def test_a_key_that_was_disabled_since(self, note):
        found = Note.objects.get()
        disable("default")
        with pytest.raises(MasterKeyUnusable, match=rf"primary key {note.pk}"):
            _ = found.text
        enable("default")
        assert found.text == VALUE

    def test_a_denial_is_recorded_when_somebody_looks(self, people):
        from envelope_fields.policy.attempts import _listeners

        _, ben = people
        heard = []
        _listeners.append(heard.append)
        try:
            with acting_as(ben):
                found = LabNote.objects.get()
                assert heard == []
                with pytest.raises(KeyAccessDenied):
                    _ = found.text
            assert len(heard) == 1
        finally:
            _listeners.remove(heard.append)

    def test_masks_are_decided_when_somebody_looks(self, people):
        ann, ben = people
        grant("lab", ann, ["encrypt"])
        with acting_as(APPLICATION):
            MaskedNote.objects.create(text="abc")
        with acting_as(ben):
            found = MaskedNote.objects.get()
            assert str(found.text) == "••••••••"
        with acting_as(ann):
            assert found.text == "abc"


class TestWhen:
    def test_without_a_query_for_half_of_the_time(self, note, monkeypatch, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        clock = Clock(monkeypatch)
        keyring.forget()
        with transaction.atomic():
            pass
        first = Note.objects.get()
        clock.move(29)
        second = Note.objects.get()  # by the same table
        clock.move(30)
        with CaptureQueriesContext(connection) as queries:
            assert second.text == VALUE
        assert len(queries) == 0
        third = Note.objects.get()  # refreshes what is older than half of its time
        clock.move(29)
        with CaptureQueriesContext(connection) as queries:
            assert third.text == VALUE
        assert len(queries) == 0
        with CaptureQueriesContext(connection) as queries:
            assert first.text == VALUE
        assert len(queries) == 0  # by what the third has refreshed

    def test_opened(self, note, uses):
        LabNote  # noqa: B018
        found = EncryptedQuerySet(Note).opened("text").get()
        assert not sealed(found)
        assert sealed(found, "data")
        assert uses() == 1
        assert not sealed(EncryptedQuerySet(Note).opened().get(), "data")
        assert sealed(EncryptedQuerySet(Note).get())
        store(note, "text", b"x" * 200)
        with pytest.raises(MalformedEnvelope):
            EncryptedQuerySet(Note).opened().get()
        assert EncryptedQuerySet(Note).opened("data").get().data == {"a": [1]}
        with pytest.raises(FieldDoesNotExist):
            EncryptedQuerySet(Note).opened("missing")
        with pytest.raises(FieldError, match="not an encrypted field"):
            EncryptedQuerySet(Note).opened("title")

    def test_open_values(self, note):
        found = Note.objects.get()
        open_values([found], "text")
        assert not sealed(found)
        assert sealed(found, "data")
        deferred = Note.objects.defer("data").get()
        open_values([deferred])
        assert deferred.get_deferred_fields() == {"data"}
        store(note, "text", b"x" * 200)
        with pytest.raises(MalformedEnvelope):
            open_values(Note.objects.all())

    def test_opened_by_an_iterable_of_the_project(self, note):
        class Marking(ModelIterable):
            def __iter__(self):
                for instance in super().__iter__():
                    instance.mark = instance.title
                    yield instance

        rows = EncryptedQuerySet(Note)
        rows._iterable_class = Marking
        for found in (rows.opened().opened().get(), *rows.opened("text").iterator()):
            assert found.mark == "t"
            assert not sealed(found)


@pytest.mark.django_db(transaction=True)
class TestAsync:
    def test_iteration_in_a_cold_process(self, note):
        keyring.evict()

        async def texts():
            return [found.text async for found in Note.objects.all()]

        assert in_event_loop(texts()) == [VALUE]

    def test_what_would_ask_raises_and_says_what_to_do(self, note):
        async def look(forget, allow=False):
            found = await Note.objects.aget()
            await sync_to_async(forget)()
            with pytest.raises(OpeningNeedsThread) as caught:
                _ = found.text
            assert isinstance(caught.value, SynchronousOnlyOperation)
            assert "await obj.arefresh_from_db(fields=['text'])" in str(caught.value)
            await found.arefresh_from_db(fields=["text"])
            return found.text

        for forget in (keyring.forget, keyring.evict):
            assert in_event_loop(look(forget)) == VALUE

    @pytest.fixture
    def people(self, django_user_model):
        create_master_key("lab")
        ann, ben = (django_user_model.objects.create_user(name) for name in ("ann", "ben"))
        LabNote.objects.create(text=VALUE)
        MaskedNote.objects.create(text="abc")
        return ann, ben

    def test_it_is_decided_on_what_is_known(self, people, caplog):
        ann, ben = people
        grant("lab", ann, ["decrypt"], expires_at=timezone.now() + timedelta(days=1))
        keyring.evict()

        async def look(user, look_again):
            with acting_as(user):
                note, masked = await LabNote.objects.aget(), await MaskedNote.objects.aget()
                await look_again(note, masked)
                if user == ann:
                    return note.text, masked.text
                with pytest.raises(KeyAccessDenied):
                    _ = note.text
                return str(masked.text)

        async def at_once(note, masked):
            pass

        async def later(note, masked):
            await sync_to_async(keyring.forget)()
            with pytest.raises(OpeningNeedsThread, match="arefresh_from_db"):
                _ = masked.text
            await masked.arefresh_from_db(fields=["text"])

        assert in_event_loop(look(ann, at_once)) == (VALUE, "abc")
        for when in (at_once, later):
            assert in_event_loop(look(ben, when)) == DOTS
        assert "SynchronousOnlyOperation" not in caplog.text
        request_finished.send(None)
        denied = AuditEvent.objects.filter(outcome="denied").values_list("actor_name", "after")
        assert {(name, after["field"]) for name, after in denied} == {
            ("ben", "tests.labnote.text"),
            ("ben", "tests.maskednote.text"),
        }

    def test_no_root_key_is_asked(self, note, monkeypatch):
        found = Note.objects.get()
        keyring.materials.evict()

        async def look():
            return found.text

        found.__dict__["text"].handle.table.unwrapping.clear()
        with pytest.raises(OpeningNeedsThread):
            in_event_loop(look())
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        assert in_event_loop(look()) == VALUE


class TestOneBadRow:
    @pytest.fixture
    def rows(self):
        notes = [Note.objects.create(text=str(number)) for number in range(3)]
        store(notes[1], "text", damaged(stored(notes[1], "text")))
        return notes

    def test_a_list_goes_on(self, rows, caplog):
        found = list(Note.objects.order_by("pk"))
        assert [found[0].text, found[2].text] == ["0", "2"]
        with caplog.at_level(logging.ERROR), pytest.raises(DecryptionFailed) as caught:
            _ = found[1].text
        assert f"row with the primary key {rows[1].pk}" in str(caught.value)
        assert "could not be opened" in caplog.text

    def test_a_template_raises_but_for_if_with_an_operator(self, rows, caplog):
        context = Context({"note": Note.objects.get(pk=rows[1].pk)})
        for source in (
            "{{ note.text }}",
            "{% if note.text %}x{% endif %}",
            "{% with note.text as x %}{% endwith %}",
        ):
            with pytest.raises(DecryptionFailed):
                Template(source).render(context)
        with caplog.at_level(logging.ERROR):
            Template("{% if note.text == 'x' %}{% else %}swallowed{% endif %}").render(context)
        assert "could not be opened" in caplog.text

    def test_it_can_be_saved(self, rows):
        damaged = stored(rows[1], "text")
        found = Note.objects.get(pk=rows[1].pk)
        found.title = "new"
        found.save()
        assert stored(rows[1], "text") == damaged
        assert Note.objects.values_list("title", flat=True).get(pk=rows[1].pk) == "new"


class TestSaving:
    def test_what_was_not_looked_at_is_left_alone(self, note, uses):
        before = stored(note, "text"), stored(note, "data")
        found = Note.objects.get()
        found.title = "new"
        for fields in (None, ["title", "text"], ["text"]):
            found.save(update_fields=fields)
            assert sealed(found)
            assert (stored(note, "text"), stored(note, "data")) == before
        assert uses() == 0
        assert found.text == VALUE

    def test_what_was_looked_at_is_written(self, note):
        before = stored(note, "text"), stored(note, "data")
        found = Note.objects.get()
        assert found.text
        found.save()
        assert stored(note, "text") != before[0]
        assert stored(note, "data") == before[1]

    def test_another_write_survives(self, note):
        found = Note.objects.get()
        Note.objects.filter(pk=note.pk).update(text="of another")
        found.save()
        assert Note.objects.get().text == "of another"

    @pytest.mark.django_db(databases=["default", "other"])
    def test_a_rewrap_survives(self, note):
        found = Note.objects.get()
        version = rotate_master_key("default")
        run("default")
        found.save()
        assert version_of(stored(note, "text")) == bytes(version.version_id)

    def test_a_denied_value(self, django_user_model):
        create_master_key("lab")
        with acting_as(APPLICATION):
            note = LabNote.objects.create(text=VALUE)
        before = stored(note, "text")
        with acting_as(django_user_model.objects.create_user("ben")):
            LabNote.objects.get().save()
        assert stored(note, "text") == before

    @pytest.mark.parametrize("look", [False, True])
    def test_inserts_open_it(self, note, look):
        found = Note.objects.get()
        if look:
            assert found.text
        found.pk = None
        found._state.adding = True
        found.save()
        assert found.pk != note.pk
        assert stored(found, "text") != stored(note, "text")
        assert Note.objects.get(pk=found.pk).text == VALUE

    def test_a_row_that_is_gone(self, note):
        found = Note.objects.get()
        Note.objects.all().delete()
        found.save()
        assert Note.objects.get().text == VALUE

    def test_another_row_gets_the_value(self, note):
        other = Note.objects.create(text="other")
        found = Note.objects.get(pk=note.pk)
        found.pk = other.pk
        found.save()
        assert Note.objects.get(pk=other.pk).text == VALUE
        assert stored(other, "text") != stored(note, "text")

    @isolate_apps("tests")
    def test_where_the_primary_key_is_loaded_last(self, note):
        class Last(models.Model):
            text = EncryptedTextField()
            key = models.CharField(max_length=9, primary_key=True)

            class Meta:
                app_label = "tests"

        field = Last._meta.get_field("text")
        found = Last.from_db(
            "default", ["text", "key"], [SealedValue(field, stored(note, "text")), "a"]
        )
        assert type(field.pre_save(found, add=False)) is Kept
        found.key = "b"
        with pytest.raises(DecryptionFailed):  # it is opened, to be encrypted for another row
            field.pre_save(found, add=False)

    def test_bulk_update_and_bulk_create_encrypt_anew(self, note):
        before = stored(note, "text")
        Note.objects.bulk_update([Note.objects.get()], ["text"])
        assert stored(note, "text") != before
        assert Note.objects.get().text == VALUE
        found = Note.objects.get()
        found.pk = None
        (made,) = Note.objects.bulk_create([found])
        assert Note.objects.get(pk=made.pk).text == VALUE

    def test_bulk_update_of_what_was_deferred_leaves_it_with_the_object(self, note):
        found = EncryptedQuerySet(Note).defer("text").get()
        EncryptedQuerySet(Note).bulk_update([found], ["text"])
        assert found.text == VALUE
        found.save()
        assert Note.objects.get().text == VALUE

    @pytest.mark.django_db(databases=["default", "other"])
    def test_another_database_encrypts_anew(self, note):
        found = Note.objects.get()
        found.save(using="other")
        assert Note.objects.using("other").get().text == VALUE
        assert stored(Note.objects.using("other").get(), "text") != stored(note, "text")

    @pytest.mark.django_db(databases=["default", "other"])
    def test_another_database_gets_the_rest_when_it_is_saved_again(self, note):
        Note.objects.using("other").create(pk=note.pk, text="old")
        found = Note.objects.get()
        found.save(using="other", update_fields=["title"])
        found.save()
        assert Note.objects.using("other").get().text == VALUE

    @pytest.mark.django_db(databases=["default", "other"])
    def test_another_database_gets_what_was_not_refreshed_from_it(self, note):
        Note.objects.using("other").create(pk=note.pk, title="other", text="old")
        found = Note.objects.get()
        found.refresh_from_db(using="other", fields=["title"])
        found.save()
        assert Note.objects.using("other").get().text == VALUE

    @pytest.mark.django_db(databases=["default", "other"])
    def test_a_replica_gets_nothing_after_a_refresh_either(self, note, settings):
        before = stored(note, "text")
        found = Note.objects.get()
        found._state.db = "other"
        settings.DATABASE_ROUTERS = ["tests.fields.test_sealed.Primary"]
        found.refresh_from_db(using="default", fields=["title"])
        found.save()
        assert stored(note, "text") == before

    def test_what_a_constructor_is_given_is_written(self, note):
        loaded = vars(Note.objects.get()).copy()  # as the recipe for loaded values keeps it
        del loaded["_state"]
        Note.objects.update(text="another")
        Note(**loaded).save()
        assert Note.objects.get().text == VALUE

    @pytest.mark.django_db(databases=["default", "other"])
    def test_a_replica_does_not(self, note, settings, uses):
        before = stored(note, "text")
        found = Note.objects.get()
        found._state.db = "other"  # where it was read
        settings.DATABASE_ROUTERS = ["tests.fields.test_sealed.Primary"]
        found.save(update_fields=["title"])
        found.save()
        assert stored(note, "text") == before
        assert uses() == 0

    def test_another_tenant_gets_a_value_under_its_own_key(self):
        first, second = create_master_key("a"), create_master_key("b")
        alias = TenantNote._meta.get_field("text").key
        note = TenantNote.objects.create(tenant="a", text=VALUE)
        assert alias(note) == "a"
        found = TenantNote.objects.get()
        found.tenant = "b"
        found.save()
        assert version_of(stored(note, "text")) == bytes(second.current_version.version_id)
        assert version_of(stored(note, "text")) != bytes(first.current_version.version_id)
        assert TenantNote.objects.get().text == VALUE

    def test_threads_may_look_at_once(self, note):
        found = Note.objects.get()
        assert at_once(*[lambda: found.text] * 8) == [VALUE] * 8

    @pytest.mark.parametrize("meanwhile", [lambda found: found.data, None])
    def test_what_another_thread_has_opened_or_assigned_stays(self, note, monkeypatch, meanwhile):
        found, field = Note.objects.get(), Note._meta.get_field("data")
        opened, seen = field.opened, []

        def slowly(sealed):
            if not seen:
                seen.append(None)
                seen.append(meanwhile(found) if meanwhile else [2])
                found.data = seen[1]
            return opened(sealed)

        monkeypatch.setitem(vars(field), "opened", slowly)
        assert found.data is found.data is seen[1]

    def test_errors_hold_no_value(self, note):
        store(note, "text", damaged(stored(note, "text")))
        with pytest.raises(EnvelopeError) as caught:
            _ = Note.objects.get().text
        assert VALUE not in str(caught.value)


class Primary:
    """A router that reads from a replica and writes to the primary database."""

    def db_for_write(self, model, **hints):
        return "default"
