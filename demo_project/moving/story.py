"""The story of a clinic whose notes become encrypted while it works.

`python -m demo_project.moving.story` tells it. Its project is a copy in a temporary directory, in
which it does what an operator and a developer do, and nothing is left behind.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

from demo_project.moving.clinic import VISITS, WORD
from demo_project.moving.scene import Scene
from demo_project.processes import StoryStops
from demo_project.telling import chapter, say, show, title

FIELD = "visits.Visit.notes"
AFTER = '    notes = EncryptedTextField(null=True, default="", db_column="notes_encrypted")'


def notes_in_clear(scene: Scene) -> None:
    """A clinic, and its notes in clear."""
    scene.command("migrate", "--verbosity", "0")
    scene.deploy()
    show(dedent(scene.field_lines()))
    say(
        f"It has {VISITS:,} visits, and works: in every visit, old notes are read and changed, and "
        "new ones written. Who has the file of the database reads them all:"
    )
    _show_row(scene)
    _show_times_in_clear(scene)


def both_columns_are_declared(scene: Scene) -> None:
    """Both columns are declared."""
    found = scene.lines_to_paste()
    scene.paste(found["lines"], found["imports"])
    say(
        "`encrypt_field` writes two migrations and the lines to paste in the place of the field. "
        "The rest of the application goes on saying `notes`."
    )
    show(f"$ manage.py encrypt_field {FIELD} --write\n{dedent(scene.field_lines())}")
    show("\n".join(found["migrations"]))
    show("$ manage.py makemigrations --check\n" + scene.command("makemigrations", "--check"))


def migrated_and_deployed(scene: Scene) -> None:
    """Migrated, and then deployed."""
    _, visits = scene.at_work("migrate", "--verbosity", "0")
    scene.deploy()
    say(
        f"The build from before did not notice the migrations: {visits} visits meanwhile, and none "
        "failed. The new one does as the old one did, until it is told otherwise:"
    )
    show("$ manage.py conversions\n" + scene.command("conversions"))


def the_new_column_is_filled(scene: Scene) -> None:
    """The new column is filled, while the clinic writes."""
    _convert(scene, "verified")
    say("Both columns are written now, and the old one is read:")
    _show_row(scene)


def the_switch(scene: Scene) -> None:
    """The switch: the clinic reads envelopes."""
    _convert(scene, "encrypted")


def back_once(scene: Scene) -> None:
    """It goes back."""
    say("The clinic is not sure. One command, and it reads and writes in clear, as before:")
    _convert(scene, "clear")


def and_moves(scene: Scene) -> None:
    """And moves."""
    say("What was written meanwhile has no envelope: it is found, and filled.")
    _convert(scene, "encrypted")


def the_old_column_is_emptied(scene: Scene) -> None:
    """The old column is emptied, which is final."""
    _convert(scene, "only")
    _show_row(scene)


def the_old_column_goes(scene: Scene) -> None:
    """The old column goes."""
    scene.paste(AFTER, "from envelope_fields.fields import EncryptedTextField")
    show(dedent(scene.field_lines()))
    scene.command("makemigrations", "visits")
    scene.deploy()
    _, visits = scene.at_work("migrate", "--verbosity", "0")
    say(
        "Now the build comes first, which knows one column, and then the migration, which would be "
        f"refused if the other still had a value: {visits} visits meanwhile. None failed."
    )
    _show_row(scene)


def nothing_in_clear_is_left(scene: Scene) -> None:
    """Nothing in clear is left."""
    say("Is it? Free places of the file may hold what they held, as `convert_field` has said:")
    _show_times_in_clear(scene)
    scene.sql("VACUUM")
    say("After VACUUM:")
    _show_times_in_clear(scene)
    if scene.times_in_clear():
        raise StoryStops("Notes in clear are left.")
    say("The clinic closes, and all notes are read:")
    scene.close()
    show(
        scene.command(
            "shell",
            "-v",
            "0",
            "-c",
            "from demo_project.moving.clinic import check_all; check_all()",
        )
        + f"{scene.visits} visits during the move, and none failed."
    )
    say(
        "Backups, and the blocks of this disk, are beyond what a database can clean. To do the "
        "same with your project: docs/how-to/encrypt-a-live-column.md."
    )


def _convert(scene: Scene, phase: str) -> None:
    """Bring the field to a phase, and show what the command says."""
    printed, visits = scene.at_work("convert_field", FIELD, "--to", phase)
    show(f"$ manage.py convert_field {FIELD} --to {phase}\n{printed}")
    say(f"Meanwhile: {visits} visits. None failed.")


def _show_row(scene: Scene) -> None:
    [row] = scene.sql("SELECT * FROM visits_visit ORDER BY id DESC LIMIT 1")
    show("\n".join(f"{name:16} {_shown(value)}" for name, value in row.items()))


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"{value[:24].hex()}... ({len(value)} bytes)"
    return "NULL" if value is None else repr(value)


def _show_times_in_clear(scene: Scene) -> None:
    show(f"$ grep -ao {WORD} clinic.sqlite3* | wc -l\n{scene.times_in_clear()}")


CHAPTERS = (
    notes_in_clear,
    both_columns_are_declared,
    migrated_and_deployed,
    the_new_column_is_filled,
    the_switch,
    back_once,
    and_moves,
    the_old_column_is_emptied,
    the_old_column_goes,
    nothing_in_clear_is_left,
)


def main() -> int:
    title("A clinic encrypts its notes while it works")
    try:
        with TemporaryDirectory(prefix="envelope-fields-moving-") as directory:
            tell(Path(directory))
    except (StoryStops, OSError, sqlite3.Error) as error:
        print(f"\nThe story stops here. {error}", file=sys.stderr)
        return 1
    return 0


def tell(directory: Path) -> None:
    """Tell all chapters."""
    with closing(Scene(directory)) as scene:
        for number, told in enumerate(CHAPTERS, 1):
            chapter(number, told, scene)


if __name__ == "__main__":
    sys.exit(main())
