"""Which key is used: what the options say, what is found, and what it has to be."""

import sys

import pytest

pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed; `make root-keys` has it")

import PyKCS11 as pkcs11
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf.backends import BackendSettings
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.root_keys import RootKey
from envelope_fields.root_keys.pkcs11 import Pkcs11RootKey
from tests.docs.pages import ROOT, Page
from tests.root_keys.contract import CONTEXT, MATERIAL, material

BACKEND = "envelope_fields.root_keys.pkcs11.Pkcs11RootKey"
OPTIONS = {
    "module": "/nowhere/module.so", "token_label": "Clinic", "key_label": "root", "pin_env": "PIN",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pin_env": None}, "exactly one of the options pin_env, pin_file"),
        ({"pin_file": "/pin"}, "exactly one of the options pin_env, pin_file"),
        ({"token_label": ""}, "give token_label, and key_label or key_id"),
        ({"key_label": ""}, "give token_label, and key_label or key_id"),
        ({"key_id": "xy"}, "CKA_ID of the key in hexadecimal"),
        ({"key_id": 5}, "token_label, key_label, key_id and mechanism are text"),
        ({"pin_env": 5}, "pin_env and pin_file are text"),
        ({"mechanism": "AES_CBC"}, "one of AES_GCM, AES_KEY_WRAP_KWP, AES_KEY_WRAP_PAD"),
        ({"module": "softhsm.so"}, "absolute path"),
        ({"timeout": 0}, "seconds above 0"),
        ({"pin": "fish"}, r"has no option 'pin'\. Valid: module, token_label, key_label, key_id"),
    ],
)
def test_bad_options(changed, message):
    entry = BackendSettings("ROOT_KEYS['hsm']", BACKEND, {**OPTIONS, **changed})
    with pytest.raises(ImproperlyConfigured, match=message) as caught:
        entry.make(RootKey)
    assert "fish" not in str(caught.value)


def test_the_settings_of_the_how_to():
    [block] = [
        block
        for block in Page(ROOT / "docs/how-to/root-key-in-pkcs11.md").blocks
        if block.language == "python"
    ]
    settings = {"ENVELOPE_FIELDS": {"ROOT_KEYS": {}}}
    exec(block.text, settings)
    [entry] = settings["ENVELOPE_FIELDS"]["ROOT_KEYS"].values()
    made = BackendSettings("ROOT_KEYS['hsm']", entry["BACKEND"], entry["OPTIONS"]).make(RootKey)
    assert repr(made) == "<Pkcs11RootKey pkcs11:token=clinic;object=root-2026>"


def test_making_one_touches_nothing():
    assert repr(Pkcs11RootKey(**OPTIONS)) == "<Pkcs11RootKey pkcs11:token=Clinic;object=root>"


def test_without_pykcs11_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyKCS11", None)
    for name in [name for name in sys.modules if name.startswith("envelope_fields.root_keys.pkcs")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImproperlyConfigured, match=r"django-envelope-fields\[pkcs11\]") as caught:
        BackendSettings("ROOT_KEYS['hsm']", BACKEND, OPTIONS).make(RootKey)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there(token):
    with pytest.raises(ValueError, match=r"/nowhere/module\.so does not exist"):
        token.root_key("shared", module="/nowhere/module.so").check()


def test_a_module_of_two_names_is_one(token, tmp_path):
    """Each would begin anew, and the sessions of the other would be gone without its notice."""
    link = tmp_path / "module.so"
    link.symlink_to(token.module)
    root_key = token.root_key("shared", module=link)
    assert root_key._module is token.root_key("shared")._module


def test_what_is_no_module(token, tmp_path):
    text = tmp_path / "module.so"
    text.write_text("text")
    with pytest.raises(ValueError, match=r"module.so cannot be loaded as a PKCS#11 module"):
        token.root_key("shared", module=text).check()


def test_a_token_that_is_not_there(token):
    """It may be switched off: what is in use stays so."""
    with pytest.raises(RootKeyUnavailable, match="'clinic' is not there; there are: 'Clinic'"):
        token.root_key("shared", token_label="clinic").check()


def test_two_tokens_of_one_name(token):
    token.initialize("twin")
    token.initialize("twin")
    with pytest.raises(ValueError, match="2 tokens have the label 'twin'"):
        token.root_key("shared", token_label="twin").check()


def test_a_key_that_is_not_there(token):
    with pytest.raises(RootKeyRefused, match=r"the key 'none' .*'Clinic' does not exist.*key_id"):
        token.root_key("none").check()


def test_a_key_is_found_by_its_id(token):
    token.change(
        ("make", "numbered", {"ID": "a1b2"}),
        ("make", "numbered", {"ID": "a1b3"}),
    )
    with pytest.raises(ValueError, match=r"'numbered' of the token 'Clinic' is one of 2: .*key_id"):
        token.root_key("numbered").check()
    first = token.root_key("numbered", key_id="A1B2")
    second = token.root_key("", key_id="a1b3")
    wrapped = first.wrap(material(), CONTEXT)
    assert first.unwrap(wrapped.material, CONTEXT) == MATERIAL
    with pytest.raises(RootKeyRefused):
        second.unwrap(wrapped.material, CONTEXT)
    with pytest.raises(RootKeyRefused, match=r"the key \(id ffff\) of the token"):
        token.root_key("", key_id="ffff").check()


def test_it_says_which_key_wrapped(token):
    """By the label and id that it has, whichever of them it is found by."""
    token.change(("make", "Schlüssel; 1", {"ID": "0aff"}), ("make", "no id", {}))
    for root_key in (token.root_key("Schlüssel; 1"), token.root_key("", key_id="0aff")):
        uri = root_key.wrap(material(), CONTEXT).wrapping_key_id
        assert uri == "pkcs11:token=Clinic;object=Schl%C3%BCssel%3B%201;id=%0a%ff"
    uri = token.root_key("no id").wrap(material(), CONTEXT).wrapping_key_id
    assert uri == "pkcs11:token=Clinic;object=no%20id"


@pytest.mark.parametrize(
    "attributes",
    [
        {"EXTRACTABLE": True},
        {"SENSITIVE": False},
        {"VALUE_LEN": 16},
        {"KEY_TYPE": pkcs11.CKK_GENERIC_SECRET, "VALUE": "00" * 32},
    ],
    ids=str,
)
def test_a_key_that_could_leave_or_is_another_kind(token, attributes):
    label = f"unfit {attributes}"
    token.make(label, **attributes)
    for mechanism in ("AES_GCM", "AES_KEY_WRAP_PAD"):
        root_key = token.root_key(label, mechanism=mechanism)
        for use in (lambda key=root_key: key.wrap(material(), CONTEXT), root_key.check):
            with pytest.raises(ValueError, match=r"not a non-extractable AES-256 key: .*have to"):
                use()


@pytest.mark.parametrize(
    ("mechanism", "names"),
    [
        ("AES_GCM", ("ENCRYPT", "DECRYPT")),
        ("AES_KEY_WRAP_PAD", ("WRAP", "UNWRAP")),
    ],
)
def test_a_key_has_to_be_allowed_both(token, mechanism, names):
    for name in names:
        label = f"without {name}"
        token.make(label, **{name: False})
        with pytest.raises(RootKeyRefused, match=f"CKA_{names[0]} and CKA_{names[1]} are"):
            token.root_key(label, mechanism=mechanism).check()


def test_a_key_has_to_be_allowed_no_more(token):
    token.make("only", WRAP=False, UNWRAP=False)
    token.root_key("only").check()


def test_a_change_of_its_rights_is_seen_by_check(token):
    token.make("changed")
    root_key = token.root_key("changed")
    root_key.check()
    token.change(("set", "changed", {"DECRYPT": False}))
    with pytest.raises(RootKeyRefused, match="CKA_DECRYPT"):
        root_key.check()


def test_a_mechanism_that_the_token_does_not_have(token):
    with pytest.raises(ValueError, match=r"AES_KEY_WRAP_KWP: CKR_MECHANISM_INVALID.*another mech"):
        token.root_key("shared", mechanism="AES_KEY_WRAP_KWP").check()


def test_a_key_that_is_destroyed_while_it_is_in_use(token):
    token.make("destroyed")
    root_key = token.root_key("destroyed")
    wrapped = root_key.wrap(material(), CONTEXT).material
    token.change(("destroy", "destroyed", {}))
    with pytest.raises(RootKeyRefused, match="does not exist"):
        root_key.unwrap(wrapped, CONTEXT)


def test_a_key_that_is_back_is_seen_after_a_refresh(token):
    """The keyring refreshes what refused, before it drops what it has opened."""
    before = set(token.directory.glob("*/*.object"))
    token.make("moved")
    [file] = set(token.directory.glob("*/*.object")) - before
    root_key = token.root_key("moved")
    wrapped = root_key.wrap(material(), CONTEXT).material
    taken = file.rename(token.directory.with_name("taken.object"))
    with pytest.raises(RootKeyRefused, match="does not exist"):
        root_key.unwrap(wrapped, CONTEXT)
    taken.rename(file)
    root_key.refresh()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
