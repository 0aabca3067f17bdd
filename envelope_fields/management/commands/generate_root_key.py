"""`manage.py generate_root_key`: a new root key, on standard output or in a file of its own."""

import os
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from envelope_fields.management.terminal import written
from envelope_fields.root_keys.local import generate

KEEP_IT = (
    "Keep a copy where you keep passwords, apart from the database and its backups, and out of "
    "version control: with the root key lost, every encrypted value is lost."
)
IN_ENVIRONMENT = (
    "Put it into the environment, or a secret store, of the processes that need it:\n"
    '    "OPTIONS": {"env": "ENVELOPE_ROOT_KEY"}'
)


class Command(BaseCommand):
    help = "Make a root key, which wraps master keys, and print it as base64."
    # It is run before anything is configured.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--file",
            type=Path,
            metavar="PATH",
            help="write it to a new file that only its owner can read, and print nothing",
        )

    def handle(self, *, file: Path | None = None, **options: Any) -> None:
        if file is None:
            if self.stdout._out is None:
                raise CommandError("Standard output is closed, and the key would be lost.")
            with written():
                self.stdout.write(generate())
                self.stdout.flush()
            guidance = IN_ENVIRONMENT
        else:
            path = Path(file).absolute()
            _write_private(path, generate() + "\n")
            guidance = f'Wrote a root key to {path}:\n    "OPTIONS": {{"file": "{path}"}}'
        if options["verbosity"] > 0:
            self.stderr.write(f"{guidance}\n{KEEP_IT}", self.style.NOTICE)


def _write_private(path: Path, text: str) -> None:
    """Create a file with mode 0600; it is whole and on the disk, or it is not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(
            f"{path} exists and is not overwritten: if it holds a root key in use, every value "
            "would be lost. Name another file."
        ) from None
    except FileNotFoundError:
        raise CommandError(
            f"The directory {path.parent} does not exist. Make it first: mkdir -p {path.parent}"
        ) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be made: {error.strerror}.") from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
