"""Any order of loads, assignments and writes does to encrypted fields what it does to plain ones.

Objects come in pairs: one of a model with encrypted fields, one of its mirror in clear, and each
act is done with both. They may differ in four things only, which are left out here:

- What no code looked at is left alone by `save()`, and so is what is deferred with a column that it
  is bound to; the plain twin writes what it was loaded with. So the twin is saved with what its
  row has by then (`_saved_alike`).
- Shallow copies share a list or a dictionary in clear, and not one that is still sealed, which each
  opens by itself. So no copy here shares one (`_copied`).
- An object that lacks a value which was deferred may load it to be saved, and says that its row is
  gone where the twin says that no row was written. So none is kept whose row is gone (`_is_kept`).
- A value that is bound to a column opens with the one that its object was loaded with. So both are
  refreshed together (`World.refresh`).

What encrypted fields refuse with a FieldError, such as an update of what a value is bound to, is
taken back on both sides.
"""

import copy
import pickle
import random
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, transaction
from django.db.models import F

from envelope_fields.fields.prepared import Kept
from envelope_fields.fields.sealed import sealed_in
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import ColumnPhase
from tests.models.converting import set_phase
from tests.models.mirrored import (
    BOUND_TO,
    CHILD,
    ENCRYPTED,
    ENVELOPES,
    IN_CLEAR,
    PLAIN,
    ROW,
    SEARCH_KEY,
    find_models,
)
from tests.models.tables import tables_of
from tests.sizes import size

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

tables = tables_of(ENVELOPES.registry)
mirrors = tables_of(IN_CLEAR.registry)

TEXTS = ["", "x", "ä", "long" * 5, "b", "0", " sp "]
VALUES = {
    **dict.fromkeys(("early", "text", "bound", "keyed", "extra"), TEXTS),
    **{name: [None, *TEXTS] for name in ("char", "conv")},
    **{name: ["a", "b", "c", ""] for name in ("first", "last")},
    **{name: [None, {}, {"a": [1]}, 3, "s"] for name in ("bound2", "more")},
    "data": [{}, [], {"a": 0.5}, [1, None], "s", 0, False],
    "amount": [None, Decimal("1.10"), Decimal("-3.00"), Decimal("99999.99")],
    "day": [None, date(2024, 2, 29), date(1999, 1, 3)],
    "at": [None, datetime(2024, 2, 29, 1, 2, 3, 999999, tzinfo=UTC)],
    "flag": [None, True, False],
    "size": [None, 0, -5, 2**31 - 1],
    "email": [None, "a@x.org", "A@x.org", "b@x.org", "c@x.org"],
    "code": [None, None, None, "c1", "c2", "c3"],
    "num": [None, 0, 1, 2],
    "owner": [0, 1, 2, 3],
    "ward": ["w", "v", "W"],
    "name": [f"n{number}" for number in range(30)],
}
ACTS = [
    *["create", "bulk_update", "update", "copy"] * 2,
    *["load", "assign", "save"] * 6,
    *["read"] * 3,
    *["forget"] * 2,
    *["mutate", "refresh", "delete", "link", "dump_and_load", "rotate", "roll_back", "clean"],
]


class Refused(Exception):
    """An encrypted field refused what its mirror did."""


class RolledBack(Exception):
    pass


class World:
    """Rows and objects, each twice: first the encrypted one, then that in clear.

    Args:
        seed: what all choices follow from.
    """

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pairs, self.log, self.is_inside = [], [], False
        self.last_key = 100

    def step(self):
        act = self.random.choice(ACTS)
        before = pickle.dumps(self.pairs)
        self.log.append(act)
        try:
            with transaction.atomic():
                getattr(self, act)()
        except Refused:
            self.log.append("refused")
            self.pairs = pickle.loads(before)

    def both(self, act, *given):
        """Do the same on both sides; return two results, or None where both raise the same."""
        results = []
        for place, side in enumerate((IN_CLEAR, ENVELOPES)):
            own = [each[1 - place] if isinstance(each, tuple) else each for each in given]
            try:
                with transaction.atomic():
                    results.append(act(side, *own))
            except Exception as error:
                if isinstance(error, FieldError):
                    raise Refused from error
                results.append(error)
        clear, opened = results
        raised = [type(each).__name__ for each in results if isinstance(each, Exception)]
        assert len(raised) in (0, 2), results
        assert len(set(raised)) < 2, results
        return None if raised else (opened, clear)

    def added(self, pair):
        if pair is not None:
            self.pairs.append(pair)

    def pair(self):
        if not self.pairs:
            self.create()
        return self.random.choice(self.pairs) if self.pairs else None

    def some(self, names, most=5):
        return self.random.sample(names, self.random.randint(1, most))

    def value(self, name):
        if name == "name" and self.random.random() < 0.7:
            return uuid.UUID(int=self.random.getrandbits(128)).hex[:20]
        return self.random.choice(VALUES[name])

    def values(self, names):
        return {name: self.value(name) for name in names}

    def key(self):
        self.last_key += 1
        return self.last_key

    # -- What is done ------------------------------------------------------------------------------

    def create(self):
        how = self.random.choice(["create", "save", "bulk", "upsert", "get_or", "update_or"])
        kind = "child" if how not in ("bulk", "upsert") and self.random.random() < 0.3 else "row"
        given = self.values(self.some(CHILD if kind == "child" else ROW, 8))
        given = {"name": self.value("name"), **given, "id": self.key()}
        fields = _with_all_of_a_kind(self.some([*ENCRYPTED, *PLAIN]))
        self.log.append((how, kind, given))
        self.added(self.both(_create, how, kind, given, fields))

    def load(self):
        kind = self.random.choice(["row", "row", "child"])
        keys = list(_model(IN_CLEAR, kind).objects.order_by("pk").values_list("pk", flat=True))
        if keys:
            names = CHILD if kind == "child" else ROW
            key, some = self.random.choice(keys), self.some(sorted({*names} - {"name"}), 6)
            how = self.random.choice([*LOADS])
            self.log.append((how, kind, key, some))
            self.added(self.both(lambda side: LOADS[how](_model(side, kind), key, some)))

    def assign(self):
        if pair := self.pair():
            for name, value in self.values(self.some(_names(pair), 3)).items():
                self.log.append((name, value))
                self.both(lambda side, row: setattr(row, name, copy.deepcopy(value)), pair)  # noqa: B023

    def mutate(self):
        if pair := self.pair():
            self.both(_mutate, pair)

    def read(self):
        if pair := self.pair():
            name = self.random.choice(_names(pair))
            found = self.both(lambda side, row: getattr(row, name), pair)
            assert found is None or found[0] == found[1], name

    def save(self):
        if pair := self.pair():
            options = {"update_fields": self.some(_names(pair))}
            options = self.random.choice(
                [{}, {}, {}, options, options, {"force_update": True}, {"force_insert": True}]
            )
            self.log.append((self.pairs.index(pair), options))
            self.both(lambda side, row: _saved_alike(side, pair, options), pair)

    def bulk_update(self):
        kind = self.random.choice(["row", "row", "child"])
        found = {
            each[0].pk: each for each in self.pairs if type(each[0]) is _model(ENVELOPES, kind)
        }
        chosen = [each for key, each in found.items() if key is not None][:3]
        if chosen:
            names = _with_all_of_a_kind(self.some(_names(chosen[0])))
            rows = tuple(zip(*chosen, strict=True))
            found = self.both(
                lambda side, own: _model(side, kind).objects.bulk_update(own, names), rows
            )
            assert found is None or found[0] == found[1], names

    def update(self):
        given = self.values(self.some(sorted({*ENCRYPTED, *PLAIN} - {"keyed"}), 3))
        num, kind = self.value("num"), self.random.choice(["row", "row", "child"])
        self.log.append((kind, num, given))
        found = self.both(
            lambda side: _model(side, kind).objects.filter(num=num).update(**copy.deepcopy(given))
        )
        assert found is None or found[0] == found[1], given

    def copy(self):
        if pair := self.pair():
            how = self.random.choice([*COPIES])
            self.log.append((self.pairs.index(pair), how))
            self.added(self.both(COPIES[how], pair, self.key(), self.value("name")))

    def refresh(self):
        if pair := self.pair():
            some = self.some(_names(pair), 4)
            some = sorted({*some, *(each for name in some for each in BOUND_TO.get(name, ()))})
            names = self.random.choice([None, some])
            self.log.append((self.pairs.index(pair), names))
            self.both(lambda side, row: row.refresh_from_db(fields=names and [*names]), pair)

    def delete(self):
        if (pair := self.pair()) and self.random.random() < 0.3:
            self.both(lambda side, row: row.delete() and None, pair)
            self.pairs = [*filter(_is_kept, self.pairs)]

    def link(self):
        if (pair := self.pair()) and (parent := self.pair()):
            self.both(
                lambda side, row, to: side.row.objects.filter(pk=row.pk).update(parent_id=to.pk),
                pair,
                parent,
            )

    def clean(self):
        if pair := self.pair():
            found = self.both(_wrong_fields, pair)
            assert found is None or found[0] == found[1]

    def forget(self):
        if len(self.pairs) > 8:
            self.pairs.pop(self.random.randrange(len(self.pairs)))

    def dump_and_load(self):
        dumped = serializers.serialize("json", ENVELOPES.row.objects.all())
        for each in serializers.deserialize("json", dumped):
            each.save()

    def rotate(self):
        if not self.is_inside:
            rotate_master_key(self.random.choice(["default", "mirrored-0", "mirrored-1"]))

    def roll_back(self):
        """Do some of all this, and take it back, while the objects stay as they are."""
        if not self.is_inside:
            self.is_inside = True
            with pytest.raises(RolledBack), transaction.atomic():
                for _ in range(self.random.randint(1, 4)):
                    self.step()
                raise RolledBack
            self.is_inside = False
            self.pairs = [*filter(_is_kept, self.pairs)]

    # -- What holds after it -----------------------------------------------------------------------

    def compare(self):
        for kind, names in (("row", ROW), ("child", CHILD)):
            rows = [_model(side, kind).objects.in_bulk() for side in (ENVELOPES, IN_CLEAR)]
            assert rows[0].keys() == rows[1].keys()
            for key, row in rows[1].items():
                _assert_alike((rows[0][key], row), names)
        mirrors = IN_CLEAR.row.objects.all()  # in Python: a collation may ignore case and accents
        found = {
            "email": {each.pk: (each.email or "").casefold() for each in mirrors},
            "code": {each.pk: each.code for each in mirrors},
            "conv": {each.pk: each.conv for each in mirrors},
            "name_index": {each.pk: (each.first, each.last) for each in mirrors},
        }
        for name, by_key in found.items():
            for value in filter(_is_indexed, {*by_key.values()}):
                self._assert_found(
                    name, value, {pk for pk, each in by_key.items() if each == value}
                )
        for pair in self.pairs:
            rows = copy.copy(pair[0]), copy.copy(pair[1])  # which stay as they are
            _assert_alike(
                rows, [each for each in _names(pair) if all(each in vars(r) for r in rows)]
            )
            assert rows[0].pk == rows[1].pk
            assert rows[0]._state.adding == rows[1]._state.adding

    def _assert_found(self, name, value, keys):
        try:
            found = ENVELOPES.row.objects.filter(**{name: value}).values_list("pk", flat=True)
        except FieldError:
            assert name == "conv"  # in a phase where its index is not read
        else:
            assert set(found) == keys, (name, value)


def _is_indexed(value):
    return all(value) if isinstance(value, tuple) else bool(value)


def _model(side, kind):
    return getattr(side, kind)


def _names(pair):
    return CHILD if isinstance(pair[1], IN_CLEAR.child) else ROW


def _assert_alike(rows, names):
    for name in names:
        mine, others = (getattr(row, name) for row in rows)
        assert mine == others, (rows[1].pk, name)
        assert type(mine) is type(others), (rows[1].pk, name)


def _with_all_of_a_kind(names):
    """Return names with all that has to be written together with one of them."""
    together = [
        {"owner", "num", "early", "bound", "bound2", "keyed"},
        {"first", "last"},
        {"ward", "extra"},
    ]
    return sorted({*names}.union(*(each for each in together if each & {*names})))


def _create(side, how, kind, given, fields):
    model, given = _model(side, kind), copy.deepcopy(given)
    if how == "create":
        return model.objects.create(**given)
    if how == "bulk":
        return model.objects.bulk_create([model(**given)])[0]
    if how == "upsert":
        by = {"unique_fields": ["name"]}
        options = by if connection.features.supports_update_conflicts_with_target else {}
        model.objects.bulk_create(
            [model(**given)], update_conflicts=True, update_fields=fields, **options
        )
        return model.objects.get(name=given["name"])
    if how == "save":
        row = model(**given)
        row.save()
        return row
    name = given.pop("name")
    return getattr(model.objects, f"{how}_create")(name=name, defaults=given)[0]


def _opened(model, key, some):
    rows = model.objects.all()
    return (rows.opened() if hasattr(rows, "opened") else rows).get(pk=key)


def _raw(model, key, some):
    if model._meta.parents:
        return model.objects.get(pk=key)
    return model.objects.raw(f"SELECT * FROM {model._meta.db_table} WHERE id = %s", [key])[0]


def _by_its_kid(model, key, some):
    kid = model.objects.filter(parent__pk=key).select_related("parent").order_by("pk").first()
    return model.objects.get(pk=key) if kid is None else kid.parent


def _proxy(model, key, some):
    side = ENVELOPES if model._meta.app_label == "mirrored" else IN_CLEAR
    return (model if model._meta.parents else side.proxy).objects.defer(*some).get(pk=key)


LOADS = {
    "get": lambda model, key, some: model.objects.get(pk=key),
    "defer": lambda model, key, some: model.objects.defer(*some).get(pk=key),
    "only": lambda model, key, some: model.objects.only(*some).get(pk=key),
    "iterate": lambda model, key, some: next(
        each for each in model.objects.order_by("pk").iterator(chunk_size=2) if each.pk == key
    ),
    "peers": lambda model, key, some: {each.pk: each for each in model.objects.defer(*some)}[key],
    "in_bulk": lambda model, key, some: model.objects.in_bulk([key])[key],
    "annotate": lambda model, key, some: model.objects.annotate(also=F("text")).get(pk=key),
    "opened": _opened,
    "raw": _raw,
    "by_its_kid": _by_its_kid,
    "proxy": _proxy,
}


def _copied(side, row, *_):
    made = copy.copy(row)
    held = vars(made)
    held.update({name: copy.deepcopy(held[name]) for name in ("data", "bound2") if name in held})
    return made


def _as_another_row(side, row, key, name):
    made = _copied(side, row)
    made.pk, made.name, made._state.adding = key, name, True
    made.id = key
    made.save()
    return made


def _constructed(side, row, key, name):
    values = {each: copy.deepcopy(getattr(row, each)) for each in [*ENCRYPTED, *PLAIN]}
    made = side.row(**values, name=name, id=key)
    made.save()
    return made


def _over_another_row(side, row, key, name):
    other = side.row.objects.exclude(pk=row.pk).order_by("pk").first()
    made = _copied(side, row)
    if other is not None and not made._meta.parents:
        made.pk, made.name = other.pk, other.name
        made.save()
    return made


COPIES = {
    "copy": _copied,
    "deepcopy": lambda side, row, *_: copy.deepcopy(row),
    "pickle": lambda side, row, *_: pickle.loads(pickle.dumps(row)),
    "as another row": _as_another_row,
    "over another row": _over_another_row,
    "by the constructor": _constructed,
}


def _is_kept(pair):
    clear = pair[1]
    is_whole = not any(row.get_deferred_fields() for row in pair)
    return is_whole or type(clear)._base_manager.filter(pk=clear.pk).exists()


def _mutate(side, row):
    if isinstance(row.data, dict):
        row.data["m"] = len(row.data)
    if isinstance(row.data, list):
        row.data.append(1)


def _wrong_fields(side, row):
    try:
        copy.copy(row).full_clean()
    except ValidationError as error:
        return sorted(error.message_dict)
    return []


def _saved_alike(side, pair, options):
    """Save one; the one in clear with what its row has of each value that the other one leaves."""
    encrypted, clear = pair
    if side is ENVELOPES:
        encrypted.save(**options)
        return
    row = type(clear)._base_manager.filter(pk=clear.pk).first()
    held = [name for name in _names(pair) if name in vars(clear)]
    before = {name: vars(clear)[name] for name in held if _is_left(encrypted, name)}
    before = before if row is not None else {}
    vars(clear).update({name: getattr(row, name) for name in before})
    try:
        clear.save(**options)
    finally:
        vars(clear).update(before)


def _is_left(row, name):
    field = row._meta.get_field(name)
    if field.attname not in vars(row):
        return True  # deferred with a column that it is bound to, and maybe only here
    sealed = sealed_in(row, field)
    if sealed is None:
        return False
    prepared = sealed.prepared(field, row, add=False)
    return isinstance(prepared, Kept) and not field.changes_with_others(prepared, row)


@pytest.fixture(autouse=True)
def _keys():
    for alias in ("mirrored-0", "mirrored-1"):
        create_master_key(alias)
    create_master_key(SEARCH_KEY, usage="generate_verify_mac")
    # Each index is begun, which is not done in a transaction.
    ENVELOPES.row.objects.create(id=1, name="x", email="x@x.org", conv="x").delete()
    yield
    for side in (ENVELOPES, IN_CLEAR):  # which no flush empties
        for model in (side.child, side.row):
            model._base_manager.all()._raw_delete("default")


@pytest.mark.parametrize("seed", range(size(2, 200)))
def test_any_order_of_acts(seed, monkeypatch):
    find_models(monkeypatch)
    phases = ColumnPhase.values
    set_phase(ENVELOPES.row, "conv", phases[seed % len(phases)])
    world = World(seed)
    for _ in range(size(15, 60)):
        world.step()
        world.compare()
