"""What every root key does. A module for each backend derives a class of tests from this one.

class TestVault(RootKeyContract):
    @pytest.fixture(scope="class")
    @classmethod
    def service(cls): ...
"""

import gc
import os
import pickle
import signal
import traceback
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest
import requests
from django.views.debug import ExceptionReporter

from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused, WrappedKeyAltered
from tests.root_keys.prefork import WORKERS, preforked
from tests.root_keys.services import FAULTS
from tests.waiting import until

MATERIAL = bytes(range(100, 132))
# How it may be shown.
SHOWN = (
    repr(MATERIAL)[2:-1],
    MATERIAL.hex(),
    b64encode(MATERIAL).decode(),
    ", ".join(map(str, MATERIAL)),
)
CONTEXT = KeyVersionContext(UUID(int=1), b"version1", 1, "encrypt_decrypt")
OTHERS = {
    "key_id": CONTEXT._replace(key_id=UUID(int=2)),
    "version_id": CONTEXT._replace(version_id=b"version2"),
    "number": CONTEXT._replace(number=2),
    "usage": CONTEXT._replace(usage="generate_verify_mac"),
}
CHILDREN = 4
THREADS = 8


def material():
    return KeyBuffer(MATERIAL)


class RootKeyContract:
    """The tests; `service` is a fixture of the module whose class derives from it."""

    @pytest.fixture
    def root_key(self, service):
        root_key = service.root_key()
        yield root_key
        root_key.close()

    @pytest.fixture
    def patient(self, service):
        """A root key that many use at once."""
        root_key = service.patient_root_key()
        yield root_key
        root_key.close()

    @pytest.fixture
    def wrapped(self, root_key):
        return root_key.wrap(material(), CONTEXT).material

    def test_it_opens_what_it_wrapped(self, root_key):
        given = material()
        wrapped = root_key.wrap(given, CONTEXT)
        assert given == MATERIAL, "wiping is for the caller"
        opened = root_key.unwrap(wrapped.material, CONTEXT)
        assert type(opened) in (bytearray, KeyBuffer)
        assert opened == MATERIAL
        assert MATERIAL not in wrapped.material

    def test_what_it_wrapped_can_be_stored(self, root_key):
        wrapped = root_key.wrap(material(), CONTEXT)
        assert type(wrapped.material) is bytes
        assert 32 < len(wrapped.material) <= 8192
        assert type(wrapped.wrapping_key_id) is str
        assert len(wrapped.wrapping_key_id) <= 500

    def test_what_it_opens_can_say_what_wrapped_it(self, root_key, wrapped):
        opened = root_key.unwrap_identified(wrapped, CONTEXT)
        assert opened.material == MATERIAL
        assert type(opened.material) in (bytearray, KeyBuffer)
        assert type(opened.wrapping_key_id) is str
        assert len(opened.wrapping_key_id) <= 500

    def test_it_may_say_what_it_would_wrap_with(self, root_key):
        current = root_key.current_wrapping_key_id()
        wrapped = root_key.wrap(material(), CONTEXT)
        opened = root_key.unwrap_identified(wrapped.material, CONTEXT)
        assert current in (None, opened.wrapping_key_id or wrapped.wrapping_key_id)

    def test_another_process_opens_it(self, service, wrapped):
        other = service.root_key()
        assert other.unwrap(wrapped, CONTEXT) == MATERIAL
        other.close()

    @pytest.mark.parametrize("part", OTHERS)
    def test_another_context_is_altered(self, service, root_key, wrapped, part):
        with pytest.raises(WrappedKeyAltered) as caught:
            root_key.unwrap(wrapped, OTHERS[part])
        says_nothing_secret(caught.value, service)

    def test_altered_bytes_are_altered(self, root_key, wrapped):
        """Each part of them: most services are too slow for every byte."""
        for position in sorted({*range(0, len(wrapped), 1 + len(wrapped) // 24), len(wrapped) - 1}):
            altered = bytearray(wrapped)
            altered[position] ^= 1
            # Where it names the key that wrapped it, another one is refused.
            with pytest.raises(RootKeyRefused):
                root_key.unwrap(bytes(altered), CONTEXT)

    @pytest.mark.parametrize("cut", [0, 1, 32, -1])
    def test_cut_bytes_are_altered(self, root_key, wrapped, cut):
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(wrapped[:cut], CONTEXT)

    def test_more_bytes_are_altered(self, root_key, wrapped):
        with pytest.raises(RootKeyRefused):
            root_key.unwrap(wrapped + b"\x00", CONTEXT)

    def test_bytes_of_another_backend_are_altered(self, root_key):
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(b"\x01" + os.urandom(72), CONTEXT)

    def test_another_key_does_not_open_it(self, service, wrapped):
        other = service.another_key()
        with pytest.raises(RootKeyRefused):
            other.unwrap(wrapped, CONTEXT)
        other.close()

    def test_a_key_that_is_not_there(self, service, wrapped):
        unknown = service.unknown_key()
        for use in (
            lambda: unknown.wrap(material(), CONTEXT),
            lambda: unknown.unwrap(wrapped, CONTEXT),
            unknown.check,
        ):
            with pytest.raises((RootKeyRefused, ValueError)):
                use()
        unknown.close()

    def test_check(self, root_key):
        assert root_key.check() is None

    @pytest.mark.parametrize("fault", FAULTS)
    def test_failure_and_recovery(self, service, root_key, wrapped, fault):
        if fault in service.without:
            pytest.skip(service.without[fault])
        fresh = service.root_key()
        uses = (
            lambda: root_key.unwrap(wrapped, CONTEXT),
            lambda: root_key.wrap(material(), CONTEXT),
            lambda: fresh.unwrap(wrapped, CONTEXT),
            fresh.check,
        )
        with service.fault(fault), ThreadPoolExecutor(len(uses)) as pool:
            # All at once, since some faults let each wait for its time-out.
            for error in [each.exception() for each in [pool.submit(use) for use in uses]]:
                assert isinstance(error, FAULTS[fault]), error
                assert not isinstance(error, WrappedKeyAltered), "our bytes are sound"
                says_nothing_secret(error, service)
        for key in (root_key, fresh):
            assert key.unwrap(wrapped, CONTEXT) == MATERIAL
        fresh.close()

    def test_a_restart(self, service, root_key, wrapped):
        service.restart()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    def test_it_goes_on_after_close_and_refresh(self, root_key, wrapped):
        root_key.close()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        root_key.refresh()
        assert root_key.unwrap(root_key.wrap(material(), CONTEXT).material, CONTEXT) == MATERIAL
        root_key.close()
        root_key.close()

    def test_threads(self, patient):
        """Each opens its own, all at once, and at first nothing is set up."""
        start = Barrier(THREADS)

        def use(number):
            context = CONTEXT._replace(number=number)
            mine = KeyBuffer(bytes([number + 1]) * 32)
            start.wait(30)
            for _ in range(3):
                wrapped = patient.wrap(mine, context).material
                assert patient.unwrap(wrapped, context) == mine
            return number

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(use, range(THREADS))) == list(range(THREADS))

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_forked_processes(self, patient, wrapped):
        """Those that gunicorn forks from one that has used it, and that one itself meanwhile."""
        assert patient.unwrap(wrapped, CONTEXT) == MATERIAL
        children = [forked(lambda: self._use_in_child(patient, wrapped)) for _ in range(CHILDREN)]
        for _ in range(3):
            assert patient.unwrap(wrapped, CONTEXT) == MATERIAL
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [
            0
        ] * CHILDREN
        assert patient.unwrap(wrapped, CONTEXT) == MATERIAL

    def _use_in_child(self, root_key, wrapped):
        root_key.after_fork()
        for _ in range(3):
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
            again = root_key.wrap(material(), CONTEXT).material
            assert root_key.unwrap(again, CONTEXT) == MATERIAL

    def test_workers_of_gunicorn(self, service):
        """Real ones, forked after the root key was used; and one that replaces a killed one."""
        with preforked(service) as ask:
            first = self._workers(ask, lambda pids: len(pids) == WORKERS)
            killed = min(first)
            os.kill(killed, signal.SIGKILL)
            assert self._workers(ask, lambda pids: pids - first) - first

    def _workers(self, ask, enough):
        pids = set()

        def answered():
            try:
                pid, *opened = ask()
            except requests.ConnectionError:  # of a worker that was killed
                return False
            assert opened == [True, True]
            pids.add(pid)
            return enough(pids)

        until(answered)
        return pids

    def test_it_shows_and_pickles_nothing(self, service, root_key, wrapped):
        for secret in service.secrets:
            assert secret not in repr(root_key)
        with pytest.raises(TypeError):
            pickle.dumps(root_key)

    def test_errors_show_nothing_secret(self, service, root_key, wrapped, caplog):
        caplog.set_level("DEBUG")
        altered = bytes([wrapped[0], *os.urandom(len(wrapped) - 1)])
        for context in (*OTHERS.values(), CONTEXT):
            with pytest.raises(EnvelopeError) as caught:
                root_key.unwrap(altered, context)
            says_nothing_secret(caught.value, service)
        for secret in service.secrets:
            assert secret not in caplog.text

    def test_logs_show_nothing_secret(self, service, caplog):
        """Nor do those of the client library, at any level."""
        caplog.set_level("DEBUG")
        fresh = service.root_key()
        fresh.unwrap(fresh.wrap(material(), CONTEXT).material, CONTEXT)
        fresh.check()
        fresh.close()
        for secret in (*service.secrets, *SHOWN):
            assert secret not in caplog.text


def forked(use):
    """Run something in a forked process; return its id."""
    gc.collect()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        use()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def says_nothing_secret(error, service):
    """Look through all that an error report would show: messages, frames and causes."""
    shown = "".join(traceback.format_exception(error, chain=True))
    shown += repr(error) + repr(vars(error))
    report = ExceptionReporter(None, type(error), error, error.__traceback__)
    # Our tests' own frames hold the material.
    frames = [each for each in report.get_traceback_frames() if "/tests/" not in each["filename"]]
    shown += repr([(name, value) for frame in frames for name, value in frame["vars"]])
    for secret in (*service.secrets, *SHOWN):
        assert secret not in shown
