"""Any order of writes and rotations, also in the middle of each other, keeps every value."""

from contextlib import suppress

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from envelope_fields import rotation
from envelope_fields.jobs.batches import Batches
from envelope_fields.lifecycle import disable, enable, rotate_master_key
from envelope_fields.models import MasterKey, RotationState
from envelope_fields.rotation import Limits
from tests.models import Keyword, keyed
from tests.rotation import Killed, left
from tests.sizes import size

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    pytest.mark.django_db(databases="__all__"),
]

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
VALUES = st.tuples(TEXTS, st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)))
WRITES = st.sampled_from(["save", "update", "bulk_update", "delete", "create", "upsert"])
KINDS = st.sampled_from(["rewrap", "re_encrypt"])


class Rotations(RuleBasedStateMachine):
    """Words with an encrypted text and JSON, as they should be read; and keys that move."""

    @initialize()
    def begin(self):
        self.expected = {}
        self.words = 0
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        for text in ("a", "b", "c"):
            self._create((text, {}), 0)

    def teardown(self):
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    # What the application does

    @rule(how=WRITES, value=VALUES, which=st.integers(0, 100))
    def write(self, how, value, which):
        getattr(self, f"_{how}")(value, which)

    def _row(self, which):
        words = sorted(self.expected)
        return Keyword.objects.get(word=words[which % len(words)]) if words else None

    def _create(self, value, which):
        self.words += 1
        word = f"word {self.words}"
        Keyword.objects.create(word=word, text=value[0], data=value[1])
        self.expected[word] = value

    def _save(self, value, which):
        if (row := self._row(which)) is not None:
            row.text, row.data = value
            row.save()
            self.expected[row.word] = value

    def _update(self, value, which):
        if (row := self._row(which)) is not None:
            Keyword.objects.filter(pk=row.pk).update(text=value[0], data=value[1])
            self.expected[row.word] = value

    def _bulk_update(self, value, which):
        rows = list(Keyword.objects.all())
        for row in rows:
            row.text, row.data = value
        Keyword.objects.bulk_update(rows, ["text", "data"])
        self.expected = dict.fromkeys(self.expected, value)

    def _upsert(self, value, which):
        if (row := self._row(which)) is not None:
            Keyword.objects.bulk_create(
                [Keyword(word=row.word, text=value[0], data=value[1])],
                update_conflicts=True,
                update_fields=["text", "data"],
                **({"unique_fields": ["word"]} if _names_conflicts() else {}),
            )
            self.expected[row.word] = value

    def _delete(self, value, which):
        if (row := self._row(which)) is not None:
            row.delete()
            del self.expected[row.word]

    # What operators do

    @rule()
    def rotate(self):
        rotate_master_key("default")

    @rule(kind=KINDS, batch_size=st.integers(1, 4))
    def run(self, kind, batch_size):
        run = rotation.run(self._begun(kind, batch_size))
        assert run.state == RotationState.COMPLETED
        assert left("default") == 0

    @rule(kind=KINDS, writes=st.lists(st.tuples(WRITES, VALUES, st.integers(0, 100)), max_size=4))
    def run_while_others_write(self, kind, writes):
        """Each write comes between the reading of a batch and its swap."""
        self.rotate()
        to_do, swap, rows = list(writes), Batches._swap, len(self.expected)

        def swap_later(batches, *batch):
            if to_do:
                self.write(*to_do.pop(0))
            return swap(batches, *batch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Batches, "_swap", swap_later)
            run = rotation.run(self._begun(kind, 2))
        assert run.state == RotationState.COMPLETED
        assert left("default") == 0
        assert len(to_do) < len(writes) or not (writes and rows), "no batch was interrupted"

    @rule(kind=KINDS, batches=st.integers(0, 3), how=st.sampled_from(["kill", "pause", "cancel"]))
    def stop(self, kind, batches, how):
        self.rotate()
        done = []

        def watch(tally):
            done.append(tally)
            if len(done) > batches:
                if how == "kill":
                    raise Killed
                getattr(rotation, how)(run)

        run = self._begun(kind, 1)
        with suppress(Killed):
            rotation.run(run, watch=watch)

    @precondition(lambda self: left("default") == 0)
    @rule()
    def disable_old_versions(self):
        """What the census says is not needed, is not."""
        key = MasterKey.objects.get(alias="default")
        for version in key.versions.exclude(number=key.current_version.number):
            disable(version)

    @rule()
    def enable_old_versions(self):
        key = MasterKey.objects.get(alias="default")
        for version in key.versions.exclude(number=key.current_version.number):
            enable(version)

    def _begun(self, kind, batch_size):
        key = MasterKey.objects.get(alias="default")
        active = rotation.active_run(key)
        return active or rotation.start(key, kind=kind, limits=Limits(batch_size=batch_size))

    @invariant()
    def every_value_is_there(self):
        found = {row.word: (row.text, row.data) for row in Keyword.objects.all()}
        assert found == self.expected


def _names_conflicts():
    from django.db import connection

    return connection.features.supports_update_conflicts_with_target


@pytest.fixture(autouse=True)
def _one_model(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(Keyword))


@pytest.mark.parametrize("how", ["update", "delete"])
def test_a_write_in_the_middle_of_a_batch(how):
    """Which rules an example tries is left to chance; so this one is tried by itself, too."""
    rotations = Rotations()
    rotations.begin()
    try:
        rotations.run_while_others_write("rewrap", [(how, ("d", {}), 0)])
        rotations.every_value_is_there()
    finally:
        rotations.teardown()


def test_no_order_loses_a_value():
    run_state_machine_as_test(
        Rotations,
        settings=settings(
            max_examples=size(6, 100),
            stateful_step_count=size(15, 30),
            suppress_health_check=list(HealthCheck),
        ),
    )
