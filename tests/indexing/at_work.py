"""A process of one build of a clinic: it writes patients, or looks for them, until told to end.

Which patient has which address is also in a plain table, whose row is locked while it changes. So a
writer knows which addresses are free, and whoever looks for one knows who had it meanwhile.
"""

import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path


class Work:
    """What one process does, again and again, and what came of it."""

    def __init__(self, seed):
        from clinic.models import Address, Patient

        self.patients, self.addresses = Patient.objects, Address.objects
        self.random = random.Random(seed)
        self.counts, self.problems = Counter(), []

    def written(self, address):
        """Return an address as some user may write it: all are the same."""
        return self.random.choice([address, address.upper(), f" {address}"])

    def once(self):
        """Do something.

        Returns:
            Whether it was done, and not only tried.
        """
        raise NotImplementedError

    def go_on(self, is_over, report, pause):
        from django.db import IntegrityError, OperationalError

        from envelope_fields.exceptions import IndexNotReady

        while not is_over():
            try:
                what = "done" if self.once() else "tried"
            except IndexNotReady:
                what = "refused"
                time.sleep(0.02)
            except OperationalError:  # MariaDB calls it a deadlock
                what = "tried"
            except IntegrityError as error:
                what = "wrong"
                self.problems.append(f"{type(error).__name__}: {error}")
            self.counts[what] += 1
            time.sleep(pause)
            report({"counts": self.counts, "problems": self.problems})


class Writer(Work):
    """Gives patients other addresses, which are free: nothing may be in the way."""

    def once(self):
        from django.db import transaction

        ways = [self.create, self.create_many, self.save, self.save_field, self.update,
                self.bulk_update, self.clear, self.delete]  # fmt: skip
        with transaction.atomic():
            return self.random.choice(ways)()

    def _locked(self, is_free):
        rows = self.addresses.filter(patient__isnull=is_free)
        keys = list(rows.values_list("pk", flat=True))
        if not keys:
            return None
        rows = rows.filter(pk=self.random.choice(keys)).select_for_update(skip_locked=True)
        return rows.first()

    def _give(self, address, patient):
        address.patient, address.version = patient, address.version + 1
        address.save()

    def _create(self, make):
        free = self._locked(is_free=True)
        if free is None:
            return False
        self._give(free, make(self.written(free.email)))
        return True

    def create(self):
        return self._create(lambda email: self.patients.create(email=email))

    def create_many(self):
        return self._create(
            lambda email: self.patients.bulk_create([self.patients.model(email=email)])[0]
        )

    def _move(self, write):
        taken, free = self._locked(is_free=False), self._locked(is_free=True)
        if taken is None or free is None:
            return False
        patient = self.patients.get(pk=taken.patient_id)
        self._give(taken, None)
        patient.email = self.written(free.email)
        write(patient)
        self._give(free, patient)
        return True

    def save(self):
        return self._move(lambda patient: patient.save())

    def save_field(self):
        return self._move(lambda patient: patient.save(update_fields=["email"]))

    def bulk_update(self):
        return self._move(lambda patient: self.patients.bulk_update([patient], ["email"]))

    def update(self):
        return self._move(
            lambda patient: self.patients.filter(pk=patient.pk).update(email=patient.email)
        )

    def _free(self, end):
        taken = self._locked(is_free=False)
        if taken is None:
            return False
        patient = self.patients.get(pk=taken.patient_id)
        self._give(taken, None)
        end(patient)
        return True

    def clear(self):
        return self._free(lambda patient: self.patients.filter(pk=patient.pk).update(email=None))

    def delete(self):
        self._free(lambda patient: patient.delete())
        return False  # it writes no index, and every build may


class Watcher(Work):
    """Takes an address that some patient has, and sees whether it had it all the while."""

    def once(self):
        known = self.addresses.filter(patient__isnull=False).order_by("?").first()
        if known is None:
            return False
        problem = self.problem(known)
        now = self.addresses.get(pk=known.pk)
        if now.version != known.version:
            return False
        if problem:
            self.problems.append(problem)
        return True

    def problem(self, known):
        """Do something about an address; return what is wrong if the patient still has it."""
        raise NotImplementedError


class Intruder(Watcher):
    """Tries to add patients with addresses that others have."""

    def problem(self, known):
        from django.db import IntegrityError, transaction

        write = self.random.choice([self._create, self._update])
        with suppress(IntegrityError), transaction.atomic():
            if not write(known):
                return ""
            is_still_taken = self.addresses.get(pk=known.pk).version == known.version
            transaction.set_rollback(True)
            return f"{known.email} was written twice" if is_still_taken else ""
        return ""

    def _create(self, known):
        return self.patients.create(email=self.written(known.email))

    def _update(self, known):
        others = self.patients.exclude(pk=known.patient_id)
        other = others.order_by("?").first() or self.patients.create()
        row = self.patients.filter(pk=other.pk)  # which another process may delete
        return row.update(email=self.written(known.email))


class Reader(Watcher):
    """Looks for the patients who have addresses."""

    def problem(self, known):
        looked_for = self.written(known.email)
        kind = self.random.choice([{"email": looked_for}, {"email__in": [looked_for, "no one"]}])
        found = list(self.patients.filter(**kind).values_list("pk", flat=True))
        return "" if found == [known.patient_id] else f"{known} was found as {found}"


def main(role, name, directory, pause):
    import django

    django.setup()
    stop, told = Path(directory, f"{name}.stop"), Path(directory, f"{name}.json")
    work = {"writer": Writer, "intruder": Intruder, "reader": Reader}[role](name)

    def report(content):
        beside = told.with_suffix(".new")
        beside.write_text(json.dumps(content))
        beside.replace(told)

    work.go_on(stop.exists, report, float(pause))


if __name__ == "__main__":
    main(*sys.argv[1:])
