"""From a value to the bytes that are stored."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Model

from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.fields.errors import named
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.row_keys import maker_for, managed_by
from envelope_fields.fields.stand_ins import refusing
from envelope_fields.keyring import encrypt
from envelope_fields.models import DEFAULT_ALIAS

Writer = Callable[[Unencrypted, str | None], bytes]


def writer(field: Any) -> Writer:
    """Return what encrypts the values of a field.

    It is given a value that is not None in its carrier, with the row that it belongs to where
    there is one, and the database that it goes to, None when it leaves for elsewhere. No name in
    it ever holds the value itself: an error report would show it. It returns an envelope.

    It raises:
        FieldError: the field takes its key from the row, and there is none; or the value is
            what stands for one.
        TypeError, ValueError: the value is none that the field can store.
        EnvelopeError: as `keyring.encrypt` raises it, naming the field.
    """
    context = field.contexts[0]
    chosen = DEFAULT_ALIAS if field.key is None else field.key
    is_alias, field_path, manager = isinstance(chosen, str), field.field_path, managed_by(chosen)
    plaintext_of = refusing(field, guarded(field))

    def write(prepared: Unencrypted, using: str | None) -> bytes:
        alias = chosen if is_alias else _alias(field, prepared.instance)
        try:
            return encrypt(alias, plaintext_of, prepared, context, using, field_path, manager)
        except EnvelopeError as error:
            make_key(field, alias, using, error)
        try:
            return encrypt(alias, plaintext_of, prepared, context, using, field_path, manager)
        except EnvelopeError as problem:
            raise named(field, problem) from problem

    return write


def make_key(field: Any, alias: str, using: str | None, error: EnvelopeError) -> None:
    """Make the key that a value needs, or raise what was wrong."""
    make = maker_for(field, alias) if isinstance(error, MasterKeyNotFound) else None
    if using is None or make is None:  # a dump only reads
        raise named(field, error) from error
    try:
        make(alias, using)
    except EnvelopeError as problem:
        raise named(field, problem) from problem


def _alias(field: Any, instance: Model | None) -> str:
    alias = _alias_without_row(field.key) if instance is None else field.key(instance)
    if isinstance(alias, str):
        return alias
    if instance is None:
        raise FieldError(
            f"{field} takes its key from the instance, and Django gives none here. Use save() or "
            "bulk_create(); for bulk_update(), a manager made of "
            "envelope_fields.fields.EncryptedQuerySet; or let key(None) return an alias."
        )
    raise FieldError(
        f"{field}: key= returned {type(alias).__name__} instead of the alias of a master key."
    )


def _alias_without_row(key: Any) -> Any:
    try:
        return key(None)
    except Exception:  # it was made for instances
        return None


ToPlaintext = Callable[[Any], bytes]


def guarded(field: Any) -> ToPlaintext:
    """Return `field.to_plaintext`, raising what names the field and holds nothing of the value.

    It raises:
        TypeError, ValueError: the value is none that the field can store.
    """
    to_plaintext: ToPlaintext = field.to_plaintext
    if type(field).__module__.startswith("envelope_fields."):
        return to_plaintext  # which raises nothing else

    def guard(value: Any) -> bytes:
        try:
            plaintext = to_plaintext(value)
            if isinstance(plaintext, bytes):
                return plaintext
            problem: Exception = TypeError(
                f"{field}: to_plaintext() returned {type(plaintext).__name__} instead of bytes."
            )
            del plaintext
        except Exception as error:
            problem = _retold(field, error)
        del value  # outside of `except`: what was raised there may hold it
        raise problem

    return guard


def _retold(field: Any, error: Exception) -> Exception:
    """Return what may be said of an error: all of it where a field of ours says it."""
    kind = TypeError if isinstance(error, TypeError | AttributeError) else ValueError
    if str(error).startswith(f"{field}: ") and _is_raised_by_us(error):
        return kind(str(error))
    return kind(
        f"{field}: this is not a value that the field can store: to_plaintext() raised "
        f"{type(error).__name__}."
    )


def _is_raised_by_us(error: Exception) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(module).startswith("envelope_fields.")
