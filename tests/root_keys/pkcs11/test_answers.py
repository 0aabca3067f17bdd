"""What a module answers, what is made of it, and what helps."""

import _ssl
import ctypes
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest import mock

import pytest

pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed; `make root-keys` has it")

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys import pkcs11 as ours
from envelope_fields.root_keys.pkcs11 import module
from envelope_fields.root_keys.pkcs11.module import module_at
from tests.root_keys.contract import CONTEXT, MATERIAL, OTHERS, forked, material
from tests.root_keys.pkcs11.softhsm import answering, counting
from tests.sizes import size
from tests.waiting import until

PAUSES = ours.PAUSES
MECHANISMS = {
    "AES_GCM": ("C_EncryptInit", "C_Encrypt", "C_DecryptInit", "C_Decrypt"),
    "AES_KEY_WRAP_PAD": ("C_CreateObject", "C_WrapKey", "C_UnwrapKey", "C_GetAttributeValue"),
}


@pytest.fixture(params=MECHANISMS)
def mechanism(request):
    return request.param


@pytest.fixture
def root_key(token, mechanism):
    root_key = token.root_key("shared", mechanism=mechanism)
    root_key.check()
    yield root_key
    root_key.close()


@pytest.fixture
def wrapped(root_key):
    return root_key.wrap(material(), CONTEXT).material


def uses(root_key, wrapped):
    """Return what asks the functions of `MECHANISMS`, in their order."""
    wrap, unwrap = (
        lambda: root_key.unwrap(root_key.wrap(material(), CONTEXT).material, CONTEXT),
        lambda: root_key.unwrap(wrapped, CONTEXT),
    )
    return wrap, wrap, unwrap, unwrap


@pytest.mark.parametrize("code", sorted(module.UNAVAILABLE), ids=module.name_of)
def test_a_new_session_helps_once(root_key, mechanism, wrapped, code):
    for function, use in zip(MECHANISMS[mechanism], uses(root_key, wrapped), strict=True):
        with answering(code, function, times=1) as answered:
            assert use() == MATERIAL
        assert answered == [function]


@pytest.mark.parametrize("code", sorted(module.UNAVAILABLE), ids=module.name_of)
def test_or_it_does_not(root_key, mechanism, wrapped, code):
    for function, use in zip(MECHANISMS[mechanism], uses(root_key, wrapped), strict=True):
        with answering(code, function), pytest.raises(RootKeyUnavailable) as caught:
            use()
        assert module.name_of(code) in str(caught.value)
        assert not isinstance(caught.value, WrappedKeyAltered)
        assert caught.value.__context__ is None, "whose frames hold what PyKCS11 was given"
        assert use() == MATERIAL


@pytest.mark.parametrize("code", sorted(module.REFUSED), ids=module.name_of)
def test_what_is_refused_is_not_asked_again(root_key, mechanism, wrapped, code):
    for function, use in zip(MECHANISMS[mechanism], uses(root_key, wrapped), strict=True):
        with answering(code, function) as answered, pytest.raises(RootKeyRefused) as caught:
            use()
        assert not isinstance(caught.value, WrappedKeyAltered)
        assert answered == [function]


@pytest.mark.parametrize("code", sorted(module.ALTERED), ids=module.name_of)
def test_what_says_plainly_that_it_was_altered(root_key, wrapped, code):
    with (
        answering(code, "C_Decrypt", "C_UnwrapKey") as answered,
        pytest.raises(WrappedKeyAltered, match="another key wrapped it, or the row was altered"),
    ):
        root_key.unwrap(wrapped, CONTEXT)
    assert len(answered) == 1


@pytest.mark.parametrize("code", sorted(module.UNSUITABLE), ids=module.name_of)
def test_what_the_settings_should_not_say(root_key, mechanism, code):
    with (
        answering(code, MECHANISMS[mechanism][0]),
        pytest.raises(ValueError, match="Name another mechanism"),
    ):
        root_key.check()


@pytest.mark.parametrize("code", [pkcs11.CKR_VENDOR_DEFINED | 5, 0x7FFFFFF0])
def test_what_is_in_no_list_is_unavailable_and_logged(root_key, wrapped, caplog, code):
    with (
        answering(code, "C_Decrypt", "C_UnwrapKey") as answered,
        pytest.raises(RootKeyUnavailable, match="cannot be asked"),
    ):
        root_key.unwrap(wrapped, CONTEXT)
    assert len(answered) == 1
    [record] = caplog.records
    assert record.name == "envelope_fields.root_keys"
    assert "in no list" in record.getMessage()


@pytest.mark.parametrize("code", sorted(module.UNCLEAR), ids=module.name_of)
def test_a_code_for_several_is_altered_if_the_key_opens_something_else(root_key, wrapped, code):
    """SoftHSM says CKR_GENERAL_ERROR for a wrong context; others have other words."""

    def other_words(original):
        def opened(*arguments):
            with suppress(pkcs11.PyKCS11Error):
                return original(*arguments)
            raise pkcs11.PyKCS11Error(code)

        return opened

    decrypt, unwrap = other_words(pkcs11.Session.decrypt), other_words(pkcs11.Session.unwrapKey)
    with (
        mock.patch.object(pkcs11.Session, "decrypt", decrypt),
        mock.patch.object(pkcs11.Session, "unwrapKey", unwrap),
        counting("C_OpenSession") as opened,
    ):
        altered = bytearray(wrapped)
        altered[-1] ^= 1
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(bytes(altered), CONTEXT)
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    assert opened == [], "the session is sound"


def test_a_key_that_opens_nothing_is_not_asked_whether_it_was_altered(root_key, wrapped):
    with (
        answering(pkcs11.CKR_GENERAL_ERROR, "C_Decrypt", "C_UnwrapKey"),
        pytest.raises(RootKeyUnavailable),
    ):
        root_key.unwrap(wrapped, OTHERS["number"])


def test_a_key_that_returns_something_else(root_key, mechanism):
    """Garbage, half of what it should be, or what another key made."""
    for wrong in (b"", bytes(47), bytes(1000)):
        with (
            mock.patch.object(pkcs11.Session, "encrypt", return_value=pkcs11.ckbytelist(wrong)),
            mock.patch.object(pkcs11.Session, "wrapKey", return_value=pkcs11.ckbytelist(wrong)),
            pytest.raises(RootKeyUnavailable, match="not what it should return"),
        ):
            root_key.wrap(material(), CONTEXT)


def test_a_key_that_does_not_give_back_what_it_wrapped(token):
    root_key = token.root_key("shared")
    with (
        mock.patch.object(pkcs11.Session, "decrypt", return_value=pkcs11.ckbytelist(bytes(32))),
        pytest.raises(RootKeyUnavailable, match="does not give back what it wrapped"),
    ):
        root_key.check()


def test_a_token_that_comes_back(token, root_key, wrapped):
    """SoftHSM sees it when the module begins anew, which takes other root keys' sessions."""
    other = token.root_key("shared")
    other.check()
    with token.away():
        for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check, other.check):
            with pytest.raises(RootKeyUnavailable):
                use()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    other.check()


def test_a_module_that_does_not_begin(token, root_key, wrapped, monkeypatch):
    """Its configuration is gone, or its service does not run yet."""
    monkeypatch.setenv("SOFTHSM2_CONF", "/nowhere/softhsm2.conf")
    token.forget()
    with pytest.raises(RootKeyUnavailable):
        root_key.unwrap(wrapped, CONTEXT)
    monkeypatch.undo()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_another_root_key_without_its_key_takes_no_session_of_ours(token, root_key, wrapped):
    """A module that begins anew may give the handle of an old session to a new one."""
    with pytest.raises(RootKeyRefused):
        token.root_key("no such key").check()
    third = token.root_key("shared")
    third.check()
    root_key.close()
    with counting("C_OpenSession") as opened:
        third.check()
        assert opened == []
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        assert len(opened) == 1
    third.close()


def test_nothing_is_left_in_the_token(root_key, wrapped, mechanism):
    with counting("C_CreateObject") as created, counting("C_DestroyObject") as destroyed:
        root_key.unwrap(root_key.wrap(material(), CONTEXT).material, CONTEXT)
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(wrapped, OTHERS["usage"])
    objects = root_key._session.handle.findObjects([(pkcs11.CKA_TOKEN, False)])
    assert objects == []
    assert len(created) <= len(destroyed)
    assert bool(created) == (mechanism != "AES_GCM")


def test_no_error_is_left_for_a_tls_connection_of_the_thread(root_key, wrapped, monkeypatch):
    """It would be taken for that connection's own."""
    left = ctypes.CDLL(_ssl.__file__).ERR_peek_error

    def fail():
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), CONTEXT)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_clear_errors", lambda: None)
        fail()
        if not left():
            pytest.skip("this mechanism leaves none, or Python and SoftHSM have an OpenSSL each")
    fail()
    assert not left()


def test_waiting_for_other_threads_ends(token, mechanism, wrapped):
    impatient = token.root_key("shared", mechanism=mechanism, timeout=0.01)
    impatient.check()
    with module_at(os.path.realpath(token.module)).turn(1):
        for use in (impatient.check, *uses(impatient, wrapped)):
            with pytest.raises(RootKeyUnavailable, match=r"other threads .* for 0\.01 s"):
                use()
        impatient.close()
    assert impatient.unwrap(wrapped, CONTEXT) == MATERIAL


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_is_in_a_call(token, root_key, wrapped):
    def use():
        root_key.after_fork()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    with module_at(os.path.realpath(token.module)).turn(1):
        child = forked(use)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_threads_that_close_it_while_others_use_it(root_key, wrapped):
    def use(number):
        if number % 3:
            return root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        return (root_key.refresh if number % 2 else root_key.close)() is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(60)))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_log_in_at_once(token, root_key, wrapped, monkeypatch):
    """SoftHSM's files cannot be read while others write them: tokens are missing, logins fail."""
    monkeypatch.setattr(ours, "PAUSES", PAUSES)
    begin, hold = os.pipe()

    def use():
        # As in a process that was never anything else: it reads the tokens when all others do.
        token.library.lib.C_Finalize()
        root_key.after_fork()
        os.close(hold)
        os.read(begin, 1)
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        root_key.check()

    gc.collect()
    children = [forked(use) for _ in range(size(24, 80))]
    os.close(hold)
    os.close(begin)
    assert {os.waitpid(pid, 0)[1] for pid in children} == {0}
    until(lambda: root_key.unwrap(wrapped, CONTEXT) == MATERIAL)
