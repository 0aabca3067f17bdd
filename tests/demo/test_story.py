import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from demo_project import place
from tests import fork_server

pytestmark = pytest.mark.any_django

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def environment(tmp_path):
    """A user without a home, whose temporary files are here."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_DATA_HOME")}
    return {
        **inherited,
        "HOME": "",
        "TMPDIR": str(tmp_path),
        "CLINIC_DATABASE": str(tmp_path / "clinic.sqlite3"),
    }


def tell(environment):
    done = fork_server.completed(
        ["-m", "demo_project.story"], environment=environment, directory=CHECKOUT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def tell_anew(environment):
    """Tell it in a Python that has nothing imported, where a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "demo_project.story"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def manage(environment, *arguments):
    done = fork_server.completed(
        ["manage.py", *arguments],
        environment={**environment, "DJANGO_SETTINGS_MODULE": "demo_project.settings"},
        directory=CHECKOUT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_told_twice(environment, tmp_path):
    first = tell_anew(environment)

    [key] = tmp_path.glob("envelope-fields-demo-*/root.key")
    assert str(key) in first
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert key.read_text().strip() not in first
    assert "\x1b[" not in first, "no colours where nobody sees them"

    assert "'Penicillin allergy" in first
    assert re.search(r"^    01 +format 1$", first, re.M)
    assert ">>> Patient.objects.filter(email='ZOE@EXAMPLE.COM')\n" in first
    assert "<QuerySet [<Patient: C-0001>]>" in first
    assert re.search(r"clinic\.Patient  record +default  2 +\w{16} +1$", first, re.M)
    assert re.search(r"patient\.notes +# under version 1$", first, re.M)
    assert re.search(r"patient\.record +# under version 2$", first, re.M)
    assert re.search(r"default: \d+ values rewrapped, 0 failed", first)
    counted = first.split("so it may go:")[1].split("Somebody changes")[0]
    assert re.search(r"default  1 +\w{16}  enabled +0$", counted, re.M)
    assert "DecryptionFailed: clinic.Patient.notes: " in first
    assert "'Tryptase is normal again.'" in first
    assert "DecryptionFailed: clinic.Finding.text: " in first
    assert re.search(r"primary\W+key\W+[0-9a-f-]{36}", first.split("clinic.Finding.text: ")[1])
    assert "Viral load" not in first
    assert re.search(r"password  \S{16}$", first, re.M)

    # Somebody plays with it in between.
    manage(environment, "rotate_master_key", "default")
    manage(environment, "create_master_key", "mine")
    manage(
        environment,
        "shell",
        "-c",
        "from demo_project.clinic.models import Patient\n"
        "Patient.objects.create(file_number='X', name='Somebody')\n"
        "Patient.objects.filter(file_number='C-0001').update(notes='Changed.' * 1000)\n"
        "Patient.objects.get(file_number='C-0002').delete()",
    )

    second = tell_anew(environment)
    assert "from before" in second
    assert "Patients added: 1." in second
    assert "'Changed." in second
    assert "changepassword demo" in second
    assert "unreadable" not in second


def test_plaintext_is_not_in_the_file(environment):
    tell(environment)
    content = Path(environment["CLINIC_DATABASE"]).read_bytes()
    assert b"C-0001" in content
    for secret in ("Penicillin", "Ångström", "HIV", "Diallo", "dolutegravir", "penicillin", "zoe@"):
        assert secret.encode() not in content


def test_a_lost_root_key_does_not_end_the_story(environment, tmp_path):
    tell(environment)
    [key] = tmp_path.glob("envelope-fields-demo-*/root.key")
    key.unlink()
    again = tell(environment)
    aside = tmp_path / "clinic-unreadable-1.sqlite3"
    assert aside.name in again
    with sqlite3.connect(aside) as connection:
        assert connection.execute("SELECT count(*) FROM clinic_patient").fetchone() == (5,)
    connection.close()


def test_what_goes_wrong_is_said_in_a_sentence(environment, tmp_path):
    environment["CLINIC_DATABASE"] = str(tmp_path / "absent" / "clinic.sqlite3")
    done = fork_server.completed(
        ["-m", "demo_project.story"], environment=environment, directory=CHECKOUT
    )
    assert done.returncode == 1
    assert "The story stops here. unable to open database file" in done.stderr
    assert "Traceback" not in done.stderr


class TestPlace:
    @pytest.fixture(autouse=True)
    def _places(self, monkeypatch, tmp_path):
        self.home = tmp_path / "home"
        self.home.mkdir()
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))

    def test_the_users_data(self, monkeypatch, tmp_path):
        data = self.home / ".local" / "share"
        assert place.root_key() == data / "envelope-fields-demo" / "root.key"
        assert not data.exists(), "looking makes nothing"
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert place.root_key() == tmp_path / "data" / "envelope-fields-demo" / "root.key"
        monkeypatch.setenv("XDG_DATA_HOME", "relative")
        assert place.root_key().is_relative_to(data)

    @pytest.mark.parametrize("home", ["", "relative", "/nowhere/at/all", str(CHECKOUT), None])
    def test_no_usable_home(self, monkeypatch, home):
        if home is None:
            monkeypatch.delenv("HOME")
        else:
            monkeypatch.setenv("HOME", home)
        assert "temporary" in str(place.root_key())
        assert place.is_temporary()

    def test_a_home_that_cannot_be_written(self, monkeypatch):
        monkeypatch.setattr("os.access", lambda *_: False)
        assert place.is_temporary()

    def test_somebody_elses_directory_is_refused(self, tmp_path):
        place.make_private(tmp_path / "mine")
        place.make_private(tmp_path / "mine")
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        for name in ("open", "link"):
            with pytest.raises(place.NotPrivate, match="chmod 700"):
                place.make_private(tmp_path / name)
