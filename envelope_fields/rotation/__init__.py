"""Moving stored values to newer key versions, and knowing what is stored under which."""

from envelope_fields.census import CensusFailed, CensusRow, KeyVersion, census

__all__ = ["CensusFailed", "CensusRow", "KeyVersion", "census"]
