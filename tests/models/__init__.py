"""Models of the test project, one topic a module."""

from tests.models.dumped import Bed, Chart, Ward
from tests.models.hidden import Hidden
from tests.models.notes import Note
from tests.models.shapes import (
    Child,
    CompositeKeyed,
    DateDecoder,
    DateEncoder,
    Declared,
    FirstDated,
    Keyword,
    OddNames,
    Place,
    PlaceProxy,
    Renamed,
    Restaurant,
    SecondDated,
    UuidKeyed,
)
from tests.models.tenants import (
    Clinic,
    Document,
    LabNote,
    LenientTenantNote,
    MaskedNote,
    TenantNote,
)

__all__ = [
    "Bed",
    "Chart",
    "Child",
    "Clinic",
    "CompositeKeyed",
    "DateDecoder",
    "DateEncoder",
    "Declared",
    "Document",
    "FirstDated",
    "Hidden",
    "Keyword",
    "LabNote",
    "LenientTenantNote",
    "MaskedNote",
    "Note",
    "OddNames",
    "Place",
    "PlaceProxy",
    "Renamed",
    "Restaurant",
    "SecondDated",
    "TenantNote",
    "UuidKeyed",
    "Ward",
]
