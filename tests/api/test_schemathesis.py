"""Everything that the schema allows, and much that it does not, sent to a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envelope_fields import audit, rotation
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, RotationKey, RotationRun
from envelope_fields.policy import APPLICATION, Action
from tests import openapi
from tests.admin import officer
from tests.api import reader
from tests.models import TenantNote
from tests.server import served
from tests.sizes import size

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    *size([pytest.mark.any_database], []),
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# The same requests each time; another seed finds others.
SEED = os.environ.get("SCHEMATHESIS_SEED", "5")
EXAMPLES = str(size(1, 20))
# At every boundary of the schema is most of the time, and much of what test_bad_input.py does.
PHASES = size("examples,fuzzing,stateful", "examples,coverage,fuzzing,stateful")
# What is done, whatever is tried. A rotation is under way; another begins when it was cancelled.
DONE = {"cancel_rotation", "rotate", "schedule_deletion", *size([], ["start_rotation"])}


@pytest.fixture
def examples():
    """What the examples of the schema speak of is there."""
    key = create_master_key("billing")
    TenantNote.objects.create(tenant="billing", text="a", data={})
    grant("default", officer("olga", key=key), list(Action), actor=APPLICATION)
    reader("rita", key=key)
    run = rotation.start("billing")
    made_as, run.pk = run.pk, "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55"
    run.save(force_insert=True)
    RotationKey.objects.filter(run=made_as).update(run=run)
    RotationRun.objects.filter(pk=made_as).delete()


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("name", size(["olga"], ["olga", "rita", "nobody"]))
def test_every_check(name, tmp_path):
    account = [] if name == "nobody" else ["--auth", f"{name}:secret"]
    with served() as address:
        tried = subprocess.run(
            [
                SCHEMATHESIS, "--config-file", CONFIGURATION, "run", openapi.COMMITTED,
                "--url", address, *account, "--checks", "all", "--continue-on-failure",
                "--seed", SEED, "--max-examples", EXAMPLES, "--phases", PHASES,
                "--no-color",
            ],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=600, check=False,
        )  # fmt: skip
    assert tried.returncode == 0, tried.stdout
    assert audit.verify().intact
    done = AuditEvent.objects.filter(actor_name=name, outcome="done")
    acts = set(done.values_list("action", flat=True))
    if name == "olga":
        assert acts >= DONE
    else:
        assert acts == set()
