"""The PIN: where it comes from, and that no token locks it because of us."""

import pytest

pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed; `make root-keys` has it")

from unittest import mock

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyUnavailable
from tests.root_keys.contract import CONTEXT, MATERIAL, material, says_nothing_secret
from tests.root_keys.pkcs11.softhsm import HsmService, answering, counting

WRONG = "not-the-pin-0815"


@pytest.fixture(autouse=True)
def nobody_is_logged_in(token):
    token.end_sessions()


@pytest.fixture
def pin_file(token, tmp_path):
    path = tmp_path / "pin"
    path.write_text(f"{token.pin}\r\n")
    path.chmod(0o600)
    return path


def test_it_is_in_a_file(token, pin_file):
    root_key = token.root_key("shared", pin_env=None, pin_file=pin_file)
    root_key.check()
    assert root_key.unwrap(root_key.wrap(material(), CONTEXT).material, CONTEXT) == MATERIAL


@pytest.mark.parametrize(
    ("mode", "text", "message"),
    [
        (0o640, b"swordfish", "pin holds a PIN and others can reach it.*chmod 600"),
        (0o600, b"swordfish\nnext", "a PIN alone, as one line of UTF-8"),
        (0o600, b"\xffswordfish", "a PIN alone, as one line of UTF-8"),
    ],
)
def test_a_file_that_is_not_in_order(token, pin_file, mode, text, message):
    pin_file.write_bytes(text)
    pin_file.chmod(mode)
    with counting("C_Login") as logins, pytest.raises(ValueError, match=message) as caught:
        token.root_key("shared", pin_env=None, pin_file=pin_file).check()
    assert logins == []
    assert "swordfish" not in str(caught.value)


def test_there_is_none(token, pin_file, monkeypatch):
    """Our own credentials: they may come, and what is in use stays so."""
    pin_file.unlink()
    with pytest.raises(RootKeyUnavailable, match=r"the file .*pin does not hold the PIN"):
        token.root_key("shared", pin_env=None, pin_file=pin_file).check()
    monkeypatch.delenv("CLINIC_PIN")
    with pytest.raises(RootKeyUnavailable, match="variable CLINIC_PIN does not hold the PIN"):
        token.root_key("shared").check()


def test_a_wrong_one_is_tried_once(token, root_key, monkeypatch):
    wrapped = root_key.wrap(material(), CONTEXT).material
    root_key.close()
    monkeypatch.setenv("CLINIC_PIN", WRONG)
    with counting("C_Login") as logins:
        for use in (
            root_key.check,
            lambda: root_key.unwrap(wrapped, CONTEXT),
            lambda: root_key.wrap(material(), CONTEXT),
            root_key.close,
            root_key.check,
        ):
            if use == root_key.close:
                use()
                continue
            with pytest.raises(
                ValueError, match=r"CLINIC_PIN is not that of .*Correct it"
            ) as caught:
                use()
            service = mock.Mock(spec=HsmService, secrets=(WRONG, token.pin))
            says_nothing_secret(caught.value, service)
        assert logins == ["C_Login"]
        root_key.refresh()
        with pytest.raises(ValueError, match="CLINIC_PIN"):
            root_key.check()
        assert len(logins) == 2, "once more, when somebody said so"
        monkeypatch.setenv("CLINIC_PIN", token.pin)
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        assert len(logins) == 3, "another one is tried"


@pytest.mark.parametrize("code", [pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_INVALID])
def test_other_words_for_a_wrong_one(root_key, code):
    with answering(code, "C_Login") as logins:
        for _ in range(3):
            with pytest.raises(ValueError, match="not tried again"):
                root_key.check()
    assert len(logins) == 1


def test_many_threads_try_a_wrong_one_once(token, root_key, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("CLINIC_PIN", WRONG)
    with counting("C_Login") as logins, ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(root_key.check) for _ in range(8)]
        assert {type(use.exception()) for use in uses} == {ValueError}
    assert logins == ["C_Login"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (pkcs11.CKF_USER_PIN_FINAL_TRY, r"if the next one is wrong.*pkcs11-tool --login"),
        (pkcs11.CKF_USER_PIN_LOCKED, "has locked the PIN"),
    ],
)
def test_the_last_attempt_is_not_ours(token, root_key, flag, message):
    """Each process of a project has a first attempt; the token counts them all."""
    original = pkcs11.PyKCS11Lib.getTokenInfo

    def flagged(library, slot):
        info = original(library, slot)
        info.flags |= flag
        return info

    with (
        mock.patch.object(pkcs11.PyKCS11Lib, "getTokenInfo", flagged),
        counting("C_Login") as logins,
        pytest.raises(RootKeyUnavailable, match=message),
    ):
        root_key.check()
    assert logins == []
    root_key.check()


@pytest.mark.parametrize("code", [pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED])
def test_one_that_the_token_does_not_take(root_key, code):
    with (
        answering(code, "C_Login") as logins,
        pytest.raises(RootKeyUnavailable, match="security officer"),
    ):
        root_key.check()
    assert len(logins) == 1


def test_a_code_that_is_in_no_list_is_not_tried_again(root_key, caplog):
    """It may be a vendor's word for a wrong PIN."""
    code = pkcs11.CKR_VENDOR_DEFINED | 0x12
    with (
        answering(code, "C_Login") as logins,
        pytest.raises(RootKeyUnavailable, match="Vendor error"),
    ):
        root_key.check()
    assert len(logins) == 1
    assert "in no list" in caplog.text


def test_another_that_logged_in_is_enough(token, root_key):
    root_key.check()
    with counting("C_Login") as logins:
        other = token.root_key("shared", pin_env="NOT_SET")
        other.check()
        other.close()
    assert logins == []
