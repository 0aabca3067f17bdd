"""One index in the place of another: what each build may do, and each step, on one table."""

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from envelope_fields.census import census, columns
from envelope_fields.exceptions import IndexNotReady, MasterKeyUnusable
from envelope_fields.indexing import (
    bring_to,
    change_state,
    find_indexes,
    run,
    runs,
    start,
    states as states_module,
)
from envelope_fields.jobs.representation import progress
from envelope_fields.lifecycle import rotate_master_key, schedule_deletion, shred_confirmation
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.witnesses import KeyInUse, KeyPinned
from envelope_fields.models import (
    AuditEvent,
    BlindIndex,
    BlindIndexKey,
    KeyCacheBound,
    MasterKeyVersion,
)
from tests.models.builds import BOTH, FIRST, LABEL, LABEL_2, SECOND
from tests.models.keyed import only
from tests.models.tables import made

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

ADA, BEN, EVE = "ada@example.org", "ben@example.org", "eve@example.org"


@pytest.fixture(scope="module", autouse=True)
def table(django_db_setup, django_db_blocker):
    with made([BOTH], django_db_blocker):
        yield


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    build_is(BOTH, monkeypatch)


def build_is(build, monkeypatch):
    monkeypatch.setattr(columns, "apps", only(build))


@pytest.fixture
def rows():
    """What the first build has written, before the search key was rotated."""
    found = [FIRST.objects.create(email=f"{number}@example.org") for number in range(3)]
    found.append(FIRST.objects.create(email=None))
    rotate_master_key("search")
    return found


def to(state, label=LABEL_2):
    return bring_to(find_indexes([label]), state)


def states():
    return dict(BlindIndex.objects.values_list("label", "state"))


def stored(row, column="email_index_2"):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM tests_replaced WHERE id = %s", [row.pk])
        return cursor.fetchone()[0]


def column_read(queryset):
    _, _, condition = str(queryset.query).partition("WHERE")
    return "email_index_2" if "email_index_2" in condition else "email_index"


def test_each_is_under_a_version_of_its_own(rows):
    BOTH.objects.create(email=ADA)
    pins = BlindIndexKey.objects.order_by("name").values_list("name", "version__number")
    assert list(pins) == [(f"field:{LABEL}", 1), (f"field:{LABEL_2}", 2)]
    assert states() == {LABEL: "reading", LABEL_2: "filling"}


def test_a_new_table_is_read_by_both_at_once():
    BOTH.objects.create(email=ADA)
    assert states() == {LABEL: "reading", LABEL_2: "reading"}


def test_an_empty_table_that_the_build_before_may_write_is_not():
    ada = FIRST.objects.create(email=ADA)
    ada.delete()
    BOTH.objects.create(email=BEN)
    assert states() == {LABEL: "reading", LABEL_2: "filling"}


def test_all_deployments(rows):
    assert BOTH.objects.get(email="1@EXAMPLE.org").pk == rows[1].pk
    assert to("reading").state == "reading"
    assert None not in [stored(row) for row in rows[:3]]
    assert BOTH.objects.get(email="1@EXAMPLE.org").pk == rows[1].pk
    report = to("retired", LABEL)
    assert (report.state, report.written) == ("retired", 3)
    eve = BOTH.objects.create(email=EVE)
    assert stored(eve, "email_index") is None
    ben = SECOND.objects.create(email=BEN)
    assert SECOND.objects.get(email=EVE).pk == eve.pk
    assert BOTH.objects.get(email=BEN).pk == ben.pk
    assert to("retired", LABEL).written == 0
    for each in find_indexes():
        done = run(start(each.index, "verify_index", using=each.using))
        assert (done.state, progress(done).failed) == ("completed", 0)


class TestWhichOneIsRead:
    def test_by_a_queryset_that_was_built_before(self, rows):
        queryset, excluded = BOTH.objects.filter(email=ADA), BOTH.objects.exclude(email__in=[ADA])
        assert {column_read(queryset), column_read(excluded)} == {"email_index"}
        to("reading")
        assert {column_read(queryset), column_read(excluded)} == {"email_index_2"}
        to("verified")
        assert {column_read(queryset), column_read(excluded)} == {"email_index"}

    def test_by_validation(self, rows):
        for state in ("reading", "verified"):
            to(state)
            BOTH(email=BEN).full_clean()
            with CaptureQueriesContext(connection) as queries:
                errors = invalid(BOTH(email="1@Example.org"))
            assert errors == {"email": ["Replaced with this Email already exists."]}
            table = connection.ops.quote_name("tests_replaced")
            [asked] = [each["sql"] for each in queries if f"FROM {table}" in each["sql"]]
            _, _, condition = asked.partition("WHERE")
            assert ("email_index_2" in condition) == (state == "reading")


def invalid(row):
    try:
        row.full_clean()
    except Exception as error:
        return error.message_dict


class TestBuildsThatDoNotWriteBoth:
    def test_the_first_one(self, rows):
        BOTH.objects.create(email=ADA)
        FIRST.objects.create(email=BEN)  # while the second index is filling
        to("verified")
        assert BOTH.objects.count() == 6
        self.writes_nothing(FIRST, rows, LABEL_2)
        assert FIRST.objects.get(email=BEN)
        to("filling")
        FIRST.objects.create(email=EVE)

    def test_the_last_one(self, rows):
        to("reading")
        self.writes_nothing(SECOND, rows, LABEL)
        to("retired", LABEL)
        SECOND.objects.create(email=EVE)

    def test_the_first_one_when_the_last_one_writes(self, rows):
        to("reading")
        to("retired", LABEL)
        self.writes_nothing(FIRST, rows, LABEL_2)
        with pytest.raises(IndexNotReady, match="is retired"):
            FIRST.objects.get(email=ADA)

    def writes_nothing(self, build, rows, lacking):
        row = build.objects.get(pk=rows[0].pk)
        row.email = EVE
        for write in (
            lambda: build.objects.create(email=EVE),
            lambda: build.objects.bulk_create([build(email=EVE)]),
            lambda: row.save(),
            lambda: row.save(update_fields=["email"]),
            lambda: build.objects.bulk_update([row], ["email"]),
            lambda: build.objects.filter(pk=row.pk).update(email=EVE),
            lambda: build.objects.filter(pk=row.pk).update(email=None),
            lambda: build.objects.filter(pk=row.pk).update(email=""),
            lambda: build.objects.create(email=None),
            lambda: build.objects.create(email=""),
        ):
            with (
                pytest.raises(IndexNotReady, match=f"does not know {lacking}"),
                transaction.atomic(),
            ):
                write()
        build.objects.filter(pk=row.pk).update(name="Ada")


class TestValuesThatAreWrittenAgain:
    """Triggers that do not see what a statement writes empty the index of such a row."""

    index = BOTH._meta.get_field("email_index_2")

    def verify(self):
        for kind in ("rebuild_index", "verify_index"):
            run(start(self.index, kind, using="default"))

    def write_again(self, row):
        again = BOTH.objects.get(pk=row.pk)
        again.email = row.email
        again.save()

    def step_by_step(self):
        for state in ("verified", "reading"):
            change_state(self.index, state)

    def test_after_a_verification(self, rows):
        to(None)
        with pytest.raises(IndexNotReady, match="no verification"):
            change_state(self.index, "verified")
        self.verify()
        self.write_again(rows[0])
        self.step_by_step()
        assert BOTH.objects.get(email=rows[0].email).pk == rows[0].pk

    def test_where_they_were_made_again(self, rows):
        to(None)
        with pytest.raises(IndexNotReady, match="no verification"):
            change_state(self.index, "verified")
        self.verify()
        to(None)
        self.write_again(rows[0])
        if stored(rows[0]) is None:
            with pytest.raises(IndexNotReady, match="Verify it again, which drops the trigger"):
                self.step_by_step()
            self.verify()
        self.step_by_step()
        assert BOTH.objects.get(email=rows[0].email).pk == rows[0].pk


def test_both_are_unique(rows):
    to("reading")
    for number, write in enumerate([BOTH.objects.create, FIRST.objects.create]):
        to("verified")
        to("filling")
        with pytest.raises(IntegrityError), transaction.atomic():
            write(email=f"{number}@example.org")


class TestTooEarly:
    @pytest.fixture(autouse=True)
    def known_late(self, known_at_once):
        KeyCacheBound.objects.update_or_create(pk=1, defaults={"seconds": 60})

    def test_to_retire(self, rows):
        BOTH.objects.create(email=ADA)
        with pytest.raises(IndexNotReady, match="its lookups would end"):
            change_index_state(LABEL, "retired")
        change_index_state(LABEL_2, "verified")
        change_index_state(LABEL_2, "reading")
        with pytest.raises(IndexNotReady, match=r"too early.* 60 seconds more"):
            change_index_state(LABEL, "retired")

    def test_to_let_the_first_build_write_again(self, rows):
        BOTH.objects.create(email=ADA)
        change_index_state(LABEL_2, "verified")
        change_index_state(LABEL_2, "reading")
        with pytest.raises(IndexNotReady, match="Bring it to verified first"):
            change_index_state(LABEL_2, "filling")
        change_index_state(LABEL_2, "verified")
        with pytest.raises(IndexNotReady, match=r"too early"):
            change_index_state(LABEL_2, "filling")


class TestGoingBack:
    def test_it_takes_no_look_at_the_rows(self, rows):
        to("reading")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE tests_replaced SET email = %s", [b"\x01" * 120])
        assert to("verified").state == "verified"
        assert to("filling").state == "filling"

    def test_there_and_again(self, rows):
        for _ in range(2):
            to("reading")
            BOTH.objects.filter(pk=rows[0].pk).update(email=ADA)
            to("filling")
            FIRST.objects.filter(pk=rows[0].pk).update(email=BEN)
        to("reading")
        assert BOTH.objects.get(email=BEN).pk == rows[0].pk
        assert not BOTH.objects.filter(email=ADA)

    def test_not_after_the_first_is_retired(self, rows):
        to("reading")
        to("retired", LABEL)
        for state in ("verified", "filling"):
            with pytest.raises(IndexNotReady, match=f"{LABEL}, which it replaces, is retired"):
                to(state)
            with pytest.raises(IndexNotReady, match="retired, permanently"):
                to(state, LABEL)
        assert states() == {LABEL: "retired", LABEL_2: "reading"}


def test_each_step_is_an_event(rows):
    to("reading")
    to("retired", LABEL)
    events = AuditEvent.objects.filter(action="change_index").order_by("number")
    after = [(each.after["index"], each.after["state"]) for each in events]
    assert after == [
        (LABEL_2, "filling"), (LABEL_2, "verified"), (LABEL_2, "reading"), (LABEL, "retired"),
    ]  # fmt: skip
    assert events[0].after["required"] is True


class TestTheVersionBefore:
    """It is destroyed when nothing is under it any more (law 7)."""

    def version(self, number):
        return MasterKeyVersion.objects.get(master_key__alias="search", number=number)

    def counted(self):
        found = {}
        for row in census():
            if row.is_index:
                found[row.field, row.version.number] = row.values
        return found

    def test_it_is_counted_and_kept(self, rows):
        to("reading")
        assert self.counted() == {("email_index", 1): 3, ("email_index_2", 2): 3}
        with pytest.raises(KeyInUse, match=r"tests\.Replaced\.email_index in .* \(3\)"):
            schedule_deletion(self.version(1))
        BOTH.objects.all().delete()
        with pytest.raises(KeyPinned, match=rf"pinned to it.*: {LABEL}\."):
            schedule_deletion(self.version(1))

    def test_it_goes_when_the_index_is_retired(self, rows):
        to("reading")
        to("retired", LABEL)
        assert self.counted() == {("email_index_2", 2): 3}
        schedule_deletion(self.version(1))
        assert self.version(1).state == "pending_deletion"
        eve = BOTH.objects.create(email=EVE)
        assert BOTH.objects.get(email=EVE) == eve
        with pytest.raises(MasterKeyUnusable):
            schedule_deletion(self.version(2))

    def test_what_shredding_it_ends(self, rows):
        to("reading")
        assert shred_confirmation(self.version(1)).lookups == ("tests.Replaced.email_index",)
        both = ("tests.Replaced.email_index", "tests.Replaced.email_index_2")
        assert shred_confirmation("search").lookups == both


class TestAtOnce:
    """Commands that are killed, or run beside each other."""

    def test_each_can_be_run_again(self, rows):
        for state, label in (("verified", LABEL_2), ("reading", LABEL_2), ("retired", LABEL)):
            assert [to(state, label).state for _ in range(2)] == [state, state]

    @pytest.mark.parametrize(
        "killed",
        ["index_states.require_index", "index_states.change_index_state", "wait_until_known"],
    )
    def test_killed_on_the_way_to_reading(self, rows, monkeypatch, killed):
        with monkeypatch.context() as patch:
            patch.setattr(f"{states_module.__name__}.{killed}", die)
            with pytest.raises(Killed):
                to("reading")
        assert states()[LABEL_2] == "filling"
        assert BOTH.objects.get(email="1@example.org").pk == rows[1].pk
        assert to("reading").state == "reading"

    @pytest.mark.parametrize("killed", ["index_states.change_index_state", "wait_until"])
    def test_killed_while_the_first_is_retired(self, rows, monkeypatch, killed):
        to("reading")
        with monkeypatch.context() as patch:
            patch.setattr(f"{states_module.__name__}.{killed}", die)
            with pytest.raises(Killed):
                to("retired", LABEL)
        BOTH.objects.create(email=EVE)
        assert to("retired", LABEL).state == "retired"
        assert [stored(row, "email_index") for row in rows] == [None] * 4

    def test_a_verification_that_began_before_does_not_count(self, rows):
        """While it was interrupted, the first build went on."""
        begun = runs.start(BOTH._meta.get_field("email_index_2"), "verify_index", using="default")
        report = to("reading")
        assert [str(each.kind) for each in report.runs].count("verify_index") == 2
        assert report.runs[0].pk == begun.pk
        assert None not in [stored(row) for row in rows[:3]]


class Killed(BaseException):
    """The process is killed."""


def die(*_, **__):
    raise Killed


def test_a_rollback_takes_a_step_back(rows):
    to("verified")
    with transaction.atomic():
        change_index_state(LABEL_2, "reading")
        assert column_read(BOTH.objects.filter(email=ADA)) == "email_index_2"
        transaction.set_rollback(True)
    assert column_read(BOTH.objects.filter(email=ADA)) == "email_index"


def test_an_index_that_the_build_has_no_more(rows, monkeypatch):
    """Its database skipped the deployment with both."""
    build_is(SECOND, monkeypatch)
    with pytest.raises(IndexNotReady, match=f"does not know {LABEL}"), transaction.atomic():
        SECOND.objects.create(email=ADA)
    with pytest.raises(CommandError, match="its lookups would end"):
        call_command("rebuild_indexes", LABEL, to="retired")
    assert to("reading").state == "reading"
    call_command("rebuild_indexes", LABEL, to="retired")
    assert SECOND.objects.create(email=ADA)
    assert SECOND.objects.get(email="1@example.org").pk == rows[1].pk
