"""`manage.py import_fhir FILE`: FHIR R4 resources, from NDJSON into encrypted fields."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, DataError, reset_queries

from demo_project.clinic import fhir, ndjson, records
from demo_project.clinic.progress import NoProgress, progress
from envelope_fields.exceptions import EnvelopeError

BATCH_ROWS = 500
BATCH_BYTES = 2**20


class Command(BaseCommand):
    help = (
        "Load FHIR R4 resources from an NDJSON file, plain or gzipped. A line that is no resource "
        "is reported with its number, and the rest is loaded. Loading a file again updates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the file; - is standard input")

    def handle(self, *, file: str, **options: Any) -> None:
        try:
            source = ndjson.Source(str(file), fhir.LINE_BYTES)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        with source:
            bar = progress(source.size, **options)
            load = _Import(source, bar, self.stderr)
            try:
                load.run()
            except (EnvelopeError, ImproperlyConfigured, DatabaseError) as error:
                raise CommandError(
                    f"Stopped. Resources stored: {load.stored:,}. {error}"
                ) from error
            finally:
                bar.close()
        self.stdout.write(
            f"Resources stored: {load.stored:,}, of them patients: {load.patients:,}."
        )
        if load.bad:
            raise CommandError(f"Bad lines left out: {load.bad:,}; see above.")


class _Import:
    """One run over a file, in batches that are stored whole."""

    def __init__(self, source: ndjson.Source, bar: NoProgress, errors: Any) -> None:
        self.stored = self.patients = self.bad = 0
        self._source, self._bar, self._errors = source, bar, errors
        self._batch: list[tuple[int, dict[str, Any]]] = []
        self._batch_bytes = 0

    def run(self) -> None:
        """Store every resource that can be."""
        number = 0
        try:
            for number, line in self._source.lines():
                self._take(number, line)
        except ndjson.Damaged as error:
            self._report(number + 1, f"{error}; what follows is lost")
        self._flush()
        records.link_to_patients()

    def _take(self, number: int, line: bytes) -> None:
        try:
            resource = fhir.parse(line)
        except fhir.BadResource as error:
            self._report(number, str(error))
            return
        self._batch.append((number, resource))
        self._batch_bytes += len(line)
        if len(self._batch) >= BATCH_ROWS or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        try:
            self._store(batch)
        except (TypeError, ValueError, DataError):
            # One of them cannot be stored. Alone, each says so for itself.
            for number, resource in batch:
                try:
                    self._store([(number, resource)])
                except (TypeError, ValueError, DataError) as error:
                    self._report(number, f"cannot be stored ({type(error).__name__})")
        self._bar.move_to(self._source.position)
        reset_queries()  # where DEBUG is set, Django keeps every statement

    def _store(self, batch: list[tuple[int, dict[str, Any]]]) -> None:
        records.store(resource for _, resource in batch)
        self.stored += len(batch)
        self.patients += sum(resource["resourceType"] == "Patient" for _, resource in batch)

    def _report(self, number: int, reason: str) -> None:
        self.bad += 1
        self._bar.write(f"line {number:,}: {reason}", self._errors)
