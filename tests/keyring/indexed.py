"""What the keyring and the lifecycle are told of a blind index, without a field."""

from types import SimpleNamespace

from envelope_fields.crypto.blind_index import IndexDomain, Kind
from envelope_fields.fields.index.normalizers import find_normalizer
from tests.models import Note

LABEL = "tests.note.text_index"
BESIDE = {f"tests.note.{name}_index" for name in ("text", "other", "third", "fourth")} | {
    f"tests.note.{name}" for name in "abc"
}


class Index(SimpleNamespace):
    def __str__(self):
        return self.field_path


def index(label=LABEL, normalizer="casefold", key="search", shared=None, **more):
    normal = find_normalizer(normalizer)
    kind = Kind.SHARED if shared else Kind.FIELD
    domain = IndexDomain(kind, shared or label, normal.name, normal.version)
    attributes = {"model": Note, "column": "text", "key": key, "only_alias": key}
    attributes |= {"labels_beside": {label, *BESIDE}, "replaced": None, "replacing": []}
    attributes |= {"kept_sources": (), **more}
    return Index(field_path=label, domain=domain, fingerprint=normal.fingerprint, **attributes)


def term(*forms, scope=()):
    return SimpleNamespace(forms=forms, scope=scope)
