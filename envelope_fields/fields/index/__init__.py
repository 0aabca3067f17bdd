"""Blind indexes: columns of MACs beside encrypted ones, by which values are found and kept unique.

A `field` says what it is an index of, and an `attribute` what objects hold of it. `terms` are
values on their way to be MACs, in `statements` that write and in `lookups`; `scope` confines
equality. `uniqueness` is a constraint, of which `model_options` and `formsets` tell Django.
"""

from envelope_fields.fields.index.field import BlindIndexField
from envelope_fields.fields.index.normalizers import Normalizer, TextNormalizer
from envelope_fields.fields.index.uniqueness import IndexedUnique
from envelope_fields.fields.prepared import Scoped

__all__ = ["BlindIndexField", "IndexedUnique", "Normalizer", "Scoped", "TextNormalizer"]
