"""A reader made of the specification, and readers that are wrong in one thing each.

A reader says no where the specification does, with the name of the error. Each wrong one below is
what somebody has written, or would: it tries more than it may, leaves out a check, or encodes
something as other formats do.
"""

import unicodedata
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.make_envelope_vectors import derive

ZEROS = bytes(12)


class Refused(Exception):
    """Its text is the name of the error."""


def first(attempts, error):
    """Return what the first attempt gives that does not fail."""
    for attempt in attempts:
        try:
            return attempt()
        except (InvalidTag, ValueError):
            continue
    raise Refused(error)


class Reader:
    def __init__(self, keys):
        self.keys = keys  # by version id

    # Contexts

    def length(self, value):
        return value.to_bytes(8, "little")

    def pae(self, parts):
        encoded = (self.length(len(part)) + part for part in parts)
        return self.length(len(parts)) + b"".join(encoded)

    def text(self, text):
        return text.encode()

    def field_context(self, label):
        return self.pae([b"field", self.text(label)])

    def pairs(self, encryption_context):
        return sorted((self.text(k), self.text(v)) for k, v in encryption_context.items())

    def kms_context(self, encryption_context):
        return self.pae(
            [b"kms", *(part for pair in self.pairs(encryption_context) for part in pair)]
        )

    # Envelopes

    def is_format(self, byte):
        return byte == 1

    def may_be_under(self, version_id):
        if version_id not in self.keys:
            raise Refused("MasterKeyNotFound")
        return [self.keys[version_id]]

    def wrap_additional_data(self, header, context):
        return [header + context]

    def payload_nonces(self, envelope):
        return [ZEROS]

    def payload_additional_data(self, envelope, context):
        return [envelope[:1]]

    def open(self, envelope, contexts):
        """Return the plaintext, and the index of the context that it opened under."""
        if len(envelope) < 97 or not self.is_format(envelope[0]):
            raise Refused("MalformedEnvelope")
        keys = self.may_be_under(envelope[1:9])
        data_key, index = first(
            (
                lambda key=key, data=data, index=index: (self.unwrap(key, envelope, data), index)
                for key in keys
                for index, context in enumerate(contexts)
                for data in self.wrap_additional_data(envelope[:9], context)
            ),
            "UnwrapFailed",
        )
        plaintext = first(
            (
                lambda nonce=nonce, data=data: AESGCM(data_key).decrypt(nonce, envelope[81:], data)
                for nonce in self.payload_nonces(envelope)
                for data in self.payload_additional_data(envelope, contexts[index])
            ),
            "DecryptionFailed",
        )
        return plaintext, index

    def unwrap(self, key, envelope, additional_data):
        derived = AESGCM(derive(key, envelope[9:21]))
        data_key = derived.decrypt(envelope[21:33], envelope[33:81], additional_data)
        if len(data_key) != 32:
            raise ValueError
        return data_key

    # Text

    def cleaned(self, text):
        return text

    def decode(self, text):
        text = self.cleaned(text)
        body = text.removeprefix("envelope:")
        try:
            envelope = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except (Base64Error, ValueError):
            envelope = b""
        if "envelope:" + urlsafe_b64encode(envelope).decode().rstrip("=") != text:
            raise Refused("MalformedEnvelope")
        if len(envelope) < 97 or not self.is_format(envelope[0]):
            raise Refused("MalformedEnvelope")
        return envelope

    # The local root key

    def is_root_wrap(self, wrapped):
        return len(wrapped) == 73 and wrapped[:1] == b"\x01"

    def root_wrap_parts(self, parts, row):
        return [parts]

    def open_master_key(self, row):
        wrapped = bytes.fromhex(row["wrapped_material"])
        if not self.is_root_wrap(wrapped):
            raise Refused("RootKeyRefused")
        parts = [
            b"master-key-version",
            UUID(row["master_key_id"]).bytes,
            bytes.fromhex(row["version_id"]),
            row["number"].to_bytes(8, "little"),
            row["usage"].encode(),
        ]
        contexts = [self.pae(each) for each in self.root_wrap_parts(parts, row)]
        derived = AESGCM(derive(b64decode(row["root_key_base64"]), wrapped[1:13]))
        return first(
            (lambda c=c: derived.decrypt(wrapped[13:25], wrapped[25:], c) for c in contexts),
            "RootKeyRefused",
        )


# Readers that try more than they may


class EveryOtherKey(Reader):
    def may_be_under(self, version_id):
        own = super().may_be_under(version_id)
        return own + [key for other, key in self.keys.items() if other != version_id]


class EveryKeyForUnknownIds(Reader):
    def may_be_under(self, version_id):
        return [self.keys[version_id]] if version_id in self.keys else [*self.keys.values()]


class PayloadBoundToTheHeader(Reader):
    def payload_additional_data(self, envelope, context):
        return [envelope[:1], envelope[:9]]


class PayloadBoundToTheContext(Reader):
    def payload_additional_data(self, envelope, context):
        return [envelope[:1], context, envelope[:9] + context]


class PayloadBoundToNothing(Reader):
    def payload_additional_data(self, envelope, context):
        return [envelope[:1], b""]


class WrapWithoutTheId(Reader):
    def wrap_additional_data(self, header, context):
        return [header + context, header[:1] + context]


class WrapBeforeTheId(Reader):
    def wrap_additional_data(self, header, context):
        return [header + context, header[:1] + context + header[1:], context + header]


class WrapWithoutTheFormat(Reader):
    def wrap_additional_data(self, header, context):
        return [header + context, header[1:] + context]


class WrapWithoutTheContext(Reader):
    def wrap_additional_data(self, header, context):
        return [header + context, header, b""]


class PrefixAsPayloadNonce(Reader):
    def payload_nonces(self, envelope):
        return [ZEROS, envelope[9:21]]


class SuffixAsPayloadNonce(Reader):
    def payload_nonces(self, envelope):
        return [ZEROS, envelope[21:33]]


class CountedPayloadNonce(Reader):
    def payload_nonces(self, envelope):
        return [ZEROS, (1).to_bytes(12, "big")]


class LowerBitsOfTheFormat(Reader):
    def is_format(self, byte):
        return byte & 0x0F == 1


class FormatWithoutItsHighestBit(Reader):
    def is_format(self, byte):
        return byte & 0x7F == 1


class AnyOddFormat(Reader):
    def is_format(self, byte):
        return bool(byte & 1)


class AnyLaterFormat(Reader):
    def is_format(self, byte):
        return byte >= 1


class EveryNumberOfARootWrap(Reader):
    def root_wrap_parts(self, parts, row):
        return [parts, [*parts[:3], (1).to_bytes(8, "little"), *parts[4:]]]


class RootWrapWithoutOnePart(Reader):
    def root_wrap_parts(self, parts, row):
        return [parts, *([*parts[:at], *parts[at + 1 :]] for at in range(len(parts)))]


class RootWrapOfAnyText(Reader):
    def root_wrap_parts(self, parts, row):
        as_text = (row["master_key_id"], row["master_key_id"].replace("-", ""))
        ids = (*(text.encode() for text in as_text), UUID(row["master_key_id"]).bytes_le)
        decimal = str(row["number"]).encode()
        return [
            parts,
            *([parts[0], each, *parts[2:]] for each in ids),
            [*parts[:3], decimal, *parts[4:]],
        ]


class IdByItsFirstBytes(Reader):
    def may_be_under(self, version_id):
        found = [key for each, key in self.keys.items() if each[:4] == version_id[:4]]
        return found or super().may_be_under(version_id)


class PayloadBoundToMore(Reader):
    def payload_additional_data(self, envelope, context):
        return [envelope[:1], envelope[:1] + context, envelope[:33], envelope[:81]]


class WrapBoundToMore(Reader):
    def open(self, envelope, contexts):
        self.nonce = envelope[9:33]
        return super().open(envelope, contexts)

    def wrap_additional_data(self, header, context):
        return [header + context, header + self.nonce + context, self.pae([header, context])]


class AllContextsAtOnce(Reader):
    def open(self, envelope, contexts):
        return super().open(envelope, [*contexts, b"".join(contexts)])


# Readers that leave out a check


class AnyFormatOfARootWrap(Reader):
    def is_root_wrap(self, wrapped):
        return len(wrapped) == 73


class AnyLengthOfARootWrap(Reader):
    def is_root_wrap(self, wrapped):
        return wrapped[:1] == b"\x01" and len(wrapped) > 25


class LowerBitsOfTheFormatOfARootWrap(Reader):
    def is_root_wrap(self, wrapped):
        return len(wrapped) == 73 and wrapped[0] & 0x0F == 1


# Readers that encode otherwise


class LengthsOfOneByte(Reader):
    def length(self, value):
        return (value & 0xFF).to_bytes(8, "little")


class LengthsOfTwoBytes(Reader):
    def length(self, value):
        return (value & 0xFFFF).to_bytes(8, "little")


class LengthsOfSevenBits(Reader):
    def length(self, value):
        return (value & 0x7F).to_bytes(8, "little")


class KeysInTheOrderOfUtf16(Reader):
    def pairs(self, encryption_context):
        items = sorted(encryption_context.items(), key=lambda item: item[0].encode("utf-16-be"))
        return [(key.encode(), value.encode()) for key, value in items]


class KeysInTheOrderOfKeysAndValues(Reader):
    def pairs(self, encryption_context):
        return sorted(super().pairs(encryption_context), key=b"".join)


class KeysInTheOrderOfAssignments(Reader):
    def pairs(self, encryption_context):
        return sorted(super().pairs(encryption_context), key=b"=".join)


class KeysAsTheyCome(Reader):
    def pairs(self, encryption_context):
        return [(key.encode(), value.encode()) for key, value in encryption_context.items()]


class KeysWithoutCase(Reader):
    def pairs(self, encryption_context):
        return sorted(super().pairs(encryption_context), key=lambda pair: pair[0].lower())


class Composed(Reader):
    def text(self, text):
        return unicodedata.normalize("NFC", text).encode()


class Decomposed(Reader):
    def text(self, text):
        return unicodedata.normalize("NFD", text).encode()


class Compatible(Reader):
    def text(self, text):
        return unicodedata.normalize("NFKC", text).encode()


class LowerCased(Reader):
    def text(self, text):
        return text.lower().encode()


class LowerCasedLabels(Reader):
    def field_context(self, label):
        return super().field_context(label.lower())


class WithoutWhiteSpaceAround(Reader):
    def text(self, text):
        return text.strip().encode()


class ToTheFirstZero(Reader):
    def text(self, text):
        return text.partition("\0")[0].encode()


class SurrogatesOneByOne(Reader):
    def text(self, text):
        units = text.encode("utf-16-le")
        pairs = (units[at : at + 2].decode("utf-16-le", "surrogatepass")
                 for at in range(0, len(units), 2))  # fmt: skip
        return "".join(pairs).encode("utf-8", "surrogatepass")


# Readers of text that are lenient


class Stripping(Reader):
    def cleaned(self, text):
        return text.strip()


class StrippingControlCharacters(Reader):
    def cleaned(self, text):
        return "".join(each for each in text if unicodedata.category(each) != "Cc")


class StrippingFormatCharacters(Reader):
    def cleaned(self, text):
        return "".join(each for each in text if unicodedata.category(each) != "Cf")


class StrippingAByteOrderMark(Reader):
    def cleaned(self, text):
        return text.removeprefix("\ufeff")


class ThePrefixTwice(Reader):
    def cleaned(self, text):
        return text.replace("envelope:envelope:", "envelope:")


class StrippingZeros(Reader):
    def cleaned(self, text):
        return text.rstrip("\0")


class StoppingAtAZero(Reader):
    def cleaned(self, text):
        return text.partition("\0")[0]


# Readers of several contexts


class TheFirstContextAlone(Reader):
    def open(self, envelope, contexts):
        return super().open(envelope, contexts[:1])


class TwoContextsAtMost(Reader):
    def open(self, envelope, contexts):
        return super().open(envelope, contexts[:2])


class TheOldestContextFirst(Reader):
    def open(self, envelope, contexts):
        return super().open(envelope, contexts[::-1])


WRONG = [
    each
    for each in globals().values()
    if isinstance(each, type) and issubclass(each, Reader) and each is not Reader
]
