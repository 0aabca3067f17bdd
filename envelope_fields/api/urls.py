"""`path("api/v1/", include("envelope_fields.api.urls"))`: where the API is, the project says."""

from __future__ import annotations

from django.urls import path, re_path

from envelope_fields.api import (
    acts,
    census,
    data,
    events,
    grants,
    keys,
    root,
    rotation_acts,
    rotations,
    schema,
    versions,
)
from envelope_fields.api.shredding import Shred

app_name = "envelope_fields"

_KEY = "keys/<envelope_key:id>/"
_VERSION = f"{_KEY}versions/<int:number>/"
_OF_VERSIONS = {
    "enable": acts.Enable,
    "disable": acts.Disable,
    "schedule-deletion": acts.ScheduleDeletion,
    "cancel-deletion": acts.CancelDeletion,
    "shred": Shred,
}
_OF_ROTATIONS = {
    "pause": rotation_acts.Pause,
    "resume": rotation_acts.Resume,
    "cancel": rotation_acts.Cancel,
}
_DATA = {
    "generate-data-key": data.GenerateDataKey,
    "generate-data-key-without-plaintext": data.GenerateDataKeyWithoutPlaintext,
    "encrypt": data.Encrypt,
    "decrypt": data.Decrypt,
    "re-encrypt": data.ReEncrypt,
}

# An alias may have slashes, so what is longer comes first: `keys/alias:a/rotate/` is an act.
urlpatterns = [
    path("", root.Root.as_view(), name="root"),
    path("schema/", schema.Schema.as_view(), name="schema"),
    path("events/", events.Events.as_view(), name="events"),
    *(path(f"data/{name}/", view.as_view(), name=name) for name, view in _DATA.items()),
    path("rotations/", rotations.Rotations.as_view(), name="rotations"),
    path("rotations/<str:run>/", rotations.Rotation.as_view(), name="rotation"),
    path("rotations/<str:run>/failures/", rotations.Failures.as_view(), name="rotation-failures"),
    *(
        path(f"rotations/<str:run>/{name}/", view.as_view(), name=f"rotation-{name}")
        for name, view in _OF_ROTATIONS.items()
    ),
    path("keys/", keys.Keys.as_view(), name="keys"),
    *(
        path(f"{_VERSION}{name}/", view.as_view(of_version=True), name=f"version-{name}")
        for name, view in _OF_VERSIONS.items()
    ),
    path(_VERSION, versions.Version.as_view(), name="version"),
    path(f"{_KEY}versions/", versions.Versions.as_view(), name="versions"),
    path(f"{_KEY}grants/<int:grant>/", grants.Grant.as_view(), name="grant"),
    path(f"{_KEY}grants/", grants.Grants.as_view(), name="grants"),
    path(f"{_KEY}census/", census.Census.as_view(), name="census"),
    *(
        path(f"{_KEY}{name}/", view.as_view(), name=f"key-{name}")
        for name, view in {"rotate": acts.Rotate, **_OF_VERSIONS}.items()
    ),
    path(_KEY, keys.Key.as_view(), name="key"),
    re_path("", root.Missing.as_view()),
]
