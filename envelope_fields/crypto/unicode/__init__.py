"""Text as Unicode 15.1 folds it, whatever version of Unicode this Python has.

What is folded goes into MACs that are stored, so a newer Python must change none: the tables are in
`tables-15.1.0.json`, and code points that they do not know stay as they are. The steps are those of
`docs/spec/blind-index-v1.md`; the algorithms are UAX #15 and section 3.13 of the Unicode Standard.
"""

from envelope_fields.crypto.unicode.folding import VERSION, casefold, digits, nfkc

__all__ = ["VERSION", "casefold", "digits", "nfkc"]
