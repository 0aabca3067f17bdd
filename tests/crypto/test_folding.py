"""Text is folded by tables of one version of Unicode, whatever version this Python has."""

import sys
import unicodedata

import pytest
from hypothesis import given, strategies as st

from envelope_fields.crypto import unicode
from envelope_fields.crypto.unicode import VERSION, casefold, digits, nfkc, tables
from tests.vectors import make_unicode_tables as generator

LETTERS = [chr(each) for each in range(sys.maxunicode + 1) if not 0xD800 <= each < 0xE000]
ASSIGNED = [letter for letter in LETTERS if unicodedata.category(letter) != "Cn"]
MARKS = [letter for letter in ASSIGNED if unicodedata.combining(letter)]
TAKEN_APART = [letter for letter in ASSIGNED if unicodedata.normalize("NFKD", letter) != letter]
JAMO = list(map(chr, range(0x1100, 0x1200)))


def theirs(text):
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@pytest.mark.skipif(unicodedata.unidata_version != VERSION, reason="of another Python")
def test_the_file_is_what_its_generator_makes():
    assert generator.FILE.read_text(encoding="ascii") == generator.text()


def test_each_character_that_python_knows():
    if unicodedata.unidata_version > VERSION:
        pytest.skip("Python knows characters that the tables do not")
    assert [each for each in ASSIGNED if casefold(each) != theirs(each)] == []
    of_python = [unicodedata.decimal(each, None) for each in ASSIGNED]
    mine = [int(found) if (found := digits(each)) else None for each in ASSIGNED]
    assert mine == of_python


texts = st.lists(
    st.sampled_from(ASSIGNED)
    | st.sampled_from(MARKS)
    | st.sampled_from(TAKEN_APART)
    | st.sampled_from(JAMO)
    | st.characters(max_codepoint=0x24F),
    max_size=8,
).map("".join)


@given(texts)
def test_text(text):
    assert nfkc(text) == unicodedata.normalize("NFKC", text)
    assert casefold(text) == theirs(text)


def test_what_begins_a_cluster_is_never_joined():
    """So that text is folded cluster by cluster: no character is joined with the one before it."""
    joining = unicode._joining()
    begins = [letter for letter in ASSIGNED if letter not in joining]
    assert [letter for letter in begins if casefold(letter)[0] in joining] == []
    assert [letter for letter in begins if nfkc(letter)[0] in joining] == []
    composed = [(pair[0], whole) for pair, whole in tables().compositions.items()]
    assert [pair for pair in composed if pair[0] not in joining and pair[1] in joining] == []


@pytest.mark.parametrize("code", [0x378, 0x2FFFE, 0x323B0, 0xE0FFF, 0x1FBFA])
def test_what_is_not_assigned_stays(code):
    assert casefold(f"A{chr(code)}B") == f"a{chr(code)}b"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("ẞ", "ss"),
        ("İstanbul", "i\u0307stanbul"),
        ("Iı", "iı"),
        ("ΣΑΣ", "σασ"),
        ("σας", "σασ"),
        ("ﬁn", "fin"),
        ("①²", "12"),
        ("Ａ", "a"),
        ("Å", "å"),
        ("A\u030a", "å"),
        ("\u1100\u1161\u11a8", "각"),
        ("가\u11a8", "각"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("\u03d3", "ύ"),
        ("\u1e9b\u0323", "ṩ"),
        ("\u0345", "ι"),
        ("\ud7a3", "\ud7a3"),
        ("Ꭰꭰ", "ᎠᎠ"),
    ],
)
def test_cases(text, folded):
    assert casefold(text) == folded


def test_ascii_is_folded_as_any_text():
    """Its way is a shorter one, and leads to the same: for each character, beside each other."""
    letters = list(map(chr, range(128)))
    texts = [*letters, *(first + second for first in letters for second in letters)]
    apart = [unicode._composed(unicode._ordered(unicode._apart(text))) for text in texts]
    assert ["".join(each) if isinstance(each, list) else each for each in apart] == texts
    folded = [text.translate(tables().foldings) for text in texts]
    assert [casefold(text) for text in texts] == folded == list(map(theirs, texts))
    known = tables().digits
    assert [digits(text) for text in texts] == [
        "".join(known.get(ord(letter), "") for letter in text) for text in texts
    ]


def test_lone_surrogates_stay():
    assert casefold("\ud800A") == "\ud800a"


def test_composed_and_decomposed():
    assert len({casefold(text) for text in ("é", "É", "e\u0301", "E\u0301")}) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ""), ("none", ""), ("0049-30", "004930"), ("٠١٢", "012"), ("²①", ""), ("𝟘9", "09")],
)
def test_digits(text, found):
    assert digits(text) == found
