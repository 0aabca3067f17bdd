"""What is done in a process that uWSGI has forked: it does not ask Python."""

import sys
from types import ModuleType

import pytest

from envelope_fields import forks, keyring
from envelope_fields.keyring import values

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


@pytest.fixture
def uwsgi(monkeypatch):
    module = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    monkeypatch.setattr(forks, "_functions", list(forks._functions))
    return module


def test_a_worker_draws_a_nonce_prefix_of_its_own(uwsgi):
    keyring.evict()
    forks.cover_uwsgi()
    of_parent, again = (values.wrapping_key("default", "tests.note.text") for _ in range(2))
    assert of_parent is again
    uwsgi.post_fork_hook()
    assert values.wrapping_key("default", "tests.note.text").prefix != of_parent.prefix


def test_the_hook_of_a_project_is_called_as_well(uwsgi):
    called = []
    uwsgi.post_fork_hook = lambda: called.append(1)
    forks.cover_uwsgi()
    forks.cover_uwsgi()  # apps may be made ready several times
    uwsgi.post_fork_hook()
    assert called == [1]


def test_decorators_that_are_imported_later_do_not_take_its_place(uwsgi, monkeypatch, tmp_path):
    (tmp_path / "uwsgidecorators.py").write_text("import uwsgi\nuwsgi.post_fork_hook = list\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "uwsgidecorators", raising=False)
    forks.cover_uwsgi()
    hook = uwsgi.post_fork_hook
    import uwsgidecorators  # noqa: F401

    monkeypatch.delitem(sys.modules, "uwsgidecorators")
    assert uwsgi.post_fork_hook is hook
