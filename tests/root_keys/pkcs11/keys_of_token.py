"""Makes and changes keys of a token, as a program: a login is that of a process."""

import json
import sys

import PyKCS11 as pkcs11

KEY = {
    "CLASS": pkcs11.CKO_SECRET_KEY,
    "KEY_TYPE": pkcs11.CKK_AES,
    "VALUE_LEN": 32,
    "TOKEN": True,
    "PRIVATE": True,
    "SENSITIVE": True,
    "EXTRACTABLE": False,
    **dict.fromkeys(("ENCRYPT", "DECRYPT", "WRAP", "UNWRAP"), True),
}


def main(path, label, pin):
    library = pkcs11.PyKCS11Lib().load(path)
    [slot] = [
        slot
        for slot in library.getSlotList(tokenPresent=True)
        if library.getTokenInfo(slot).label.strip() == label
    ]
    session = library.openSession(slot, pkcs11.CKF_RW_SESSION)
    session.login(pin)
    for verb, key, attributes in json.load(sys.stdin):
        if verb == "make":
            make(session, key, attributes)
            continue
        [found] = session.findObjects([(pkcs11.CKA_LABEL, key)])
        if verb == "set":
            session.setAttributeValue(found, template(attributes))
        else:
            session.destroyObject(found)


def make(session, label, attributes):
    attributes = {**KEY, "LABEL": label, **attributes}
    if attributes["KEY_TYPE"] == pkcs11.CKK_AES and "VALUE" not in attributes:
        session.generateKey(template(attributes))
    else:
        del attributes["VALUE_LEN"]
        session.createObject(template(attributes))


def template(attributes):
    return [
        (pkcs11.CKA[f"CKA_{name}"], bytes.fromhex(value) if name in ("ID", "VALUE") else value)
        for name, value in attributes.items()
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
