"""`make demo-move`: its story, told from beginning to end."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from demo_project.moving import clinic, story
from demo_project.moving.scene import Scene
from demo_project.processes import StoryStops
from tests.docs.pages import ROOT

pytestmark = pytest.mark.any_django


def tell(temporary):
    """Tell it to a user without a home, and in a Python where a warning is an error."""
    inherited = {name: value for name, value in os.environ.items() if name[:4] != "XDG_"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "demo_project.moving.story"],
        cwd=ROOT,
        env={**inherited, "HOME": "", "TMPDIR": str(temporary), "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
    )


def test_the_story(tmp_path):
    done = tell(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []

    chapters = re.split(r"^\d+\. .*$", done.stdout, flags=re.M)[1:]
    in_clear, declared, deployed, filled, switched, back, again, emptied, gone, end = chapters
    assert "notes            'Allergic to penicillin." in in_clear
    assert int(re.search(r"wc -l\n +(\d+)", in_clear)[1]) > clinic.VISITS
    assert 'converts="notes_clear"' in declared
    assert "No changes detected" in declared
    assert re.search(r"clear\. [\d,]+ values in clear, 0 envelopes", deployed)
    assert re.search(r"[\d,]+ values filled, 0 failed", filled)
    assert re.search(r"^    notes +'Allergic.*\n    notes_encrypted +01\w+", filled, re.M)
    assert "visits.Visit.notes: encrypted. " in switched
    assert "visits.Visit.notes: clear. " in back
    assert re.search(r"[1-9][\d,]* values filled, 0 failed", again)
    assert "visits.Visit.notes: encrypted. " in again
    assert "visits.Visit.notes: only. 0 values in clear" in emptied
    assert re.search(r"^    notes +NULL$", emptied, re.M)
    assert not re.search(r"^    notes  ", gone, re.M)
    assert re.search(r"After VACUUM:\n\n.*wc -l\n    0\n", end)
    read, visits = (int(re.search(rf"(\d+) {what}", end)[1]) for what in ("notes", "visits"))
    assert read == clinic.VISITS + visits > clinic.VISITS + 50


@pytest.fixture
def scene(tmp_path):
    with closing(Scene(tmp_path)) as scene:
        yield scene


def test_what_is_left_in_clear_ends_the_story(scene, tmp_path, capsys):
    with closing(sqlite3.connect(tmp_path / "clinic.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE forgotten AS SELECT 'Allergic to penicillin.' AS notes")
    with pytest.raises(StoryStops, match="Notes in clear are left"):
        story.nothing_in_clear_is_left(scene)
    assert re.search(r"After VACUUM:\n\n.*wc -l\n    1\n", capsys.readouterr().out)


def test_a_command_that_fails_ends_the_story(scene):
    with pytest.raises(
        StoryStops, match=r"convert_field visits.Visit.nothing --to only: CommandError"
    ):
        scene.command("convert_field", "visits.Visit.nothing", "--to", "only")


def test_notes_that_are_old_are_seen():
    class Visit:
        pk, changes, notes = 5, 2, clinic.notes(1)

    with pytest.raises(clinic.NotesDiffer, match=r"visit 5"):
        clinic.check(Visit)
    Visit.notes = clinic.notes(2)
    clinic.check(Visit)
