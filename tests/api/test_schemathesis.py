"""Everything that the schema allows, and much that it does not, sent to a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key
from tests import openapi
from tests.api import reader
from tests.officers import officer
from tests.server import served

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# The same requests each time; another seed finds others.
SEED = os.environ.get("SCHEMATHESIS_SEED", "5")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "8")


@pytest.mark.parametrize("name", ["olga", "rita", "nobody"])
def test_every_check(name, tmp_path):
    key = create_master_key("tenant")
    officer("olga", key=key)
    reader("rita", key=key)
    account = [] if name == "nobody" else ["--auth", f"{name}:secret"]
    with served() as address:
        done = subprocess.run(
            [
                SCHEMATHESIS, "--config-file", CONFIGURATION, "run", openapi.COMMITTED,
                "--url", address, *account, "--checks", "all", "--continue-on-failure",
                "--seed", SEED, "--max-examples", EXAMPLES, "--no-color",
            ],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=600, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert audit.verify().intact
