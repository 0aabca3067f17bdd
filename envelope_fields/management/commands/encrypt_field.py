"""`manage.py encrypt_field`: the lines and migrations by which a live column becomes encrypted."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.conversion import declaration, migration_files
from envelope_fields.conversion.declaration import Move
from envelope_fields.management import EnvelopeCommand

_HEADING = "# {file}, in the class {model}, in the place of `{name}`:"


class Command(EnvelopeCommand):
    help = (
        "Show what a field is to be declared as, so that its column becomes encrypted while the "
        "application works, and the two migrations that this takes. What keeps the field from "
        "that is named. No row is touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("field", metavar="LABEL", help="app_label.Model.field")
        parser.add_argument("--write", action="store_true", help="write the migrations to files")
        super().add_arguments(parser)

    def perform(self, *, field: str, write: bool, **options: Any) -> None:
        move = declaration.moved(field)
        written = migration_files.migrations(move)
        paths = migration_files.write(written) if write else []
        content = {
            "model": declaration.source_file(move),
            "lines": declaration.model_lines(move),
            "imports": declaration.imports(move),
            "migrations": {each.filename: each.as_string() for each in written},
            "written": list(map(str, paths)),
            "notes": move.notes,
        }
        self.say(lambda: content, _as_text(move))
        if self.json:
            return
        for each in [] if write else written:
            self.stdout.write(f"\n# {each.path}\n\n{each.as_string()}")
        for path in paths:
            self.stdout.write(f"Wrote {path}")
        self.stdout.write("".join(f"\n{note}" for note in move.notes))


def _as_text(move: Move) -> str:
    heading = _HEADING.format(
        file=declaration.source_file(move), model=move.field.model.__name__, name=move.field.name
    )
    lines, imports = declaration.model_lines(move), declaration.imports(move)
    return "\n\n".join([heading, lines, "# with the import:", imports, ""])
