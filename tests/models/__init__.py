"""Models of the test project, one topic a module."""

from tests.models.dumped import Bed, Chart, Ward
from tests.models.hidden import Hidden
from tests.models.letters import Letter
from tests.models.notes import Note
from tests.models.own_types import Birth
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
    TenantWord,
)
from tests.models.twins import ENCRYPTED, PLAIN

__all__ = [
    "ENCRYPTED",
    "PLAIN",
    "Bed",
    "Birth",
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
    "Letter",
    "MaskedNote",
    "Note",
    "OddNames",
    "Place",
    "PlaceProxy",
    "Renamed",
    "Restaurant",
    "SecondDated",
    "TenantNote",
    "TenantWord",
    "UuidKeyed",
    "Ward",
]
