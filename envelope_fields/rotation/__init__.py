"""Moving stored values to newer key versions, and knowing what is stored under which."""

from envelope_fields.census import CensusFailed, CensusRow, census
from envelope_fields.key_versions import KeyVersion

__all__ = ["CensusFailed", "CensusRow", "KeyVersion", "census"]
