"""A root key in AWS KMS, against LocalEmu: a second opinion of what AWS answers.

LocalEmu binds every address, so it runs in a network of its own, and its tests with it. It needs
another boto3 than moto, and a newer Python: it has an environment of its own, `.venv-localemu`, or
ENVELOPE_TEST_LOCALEMU is the path of its command.
"""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("boto3", reason="boto3 is in the environment of `make root-keys`")

from tests.root_keys.own_network import alone, can_be_made

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".venv-localemu" / "bin" / "localemu"
LOCALEMU = os.environ.get("ENVELOPE_TEST_LOCALEMU", str(INSTALLED))


@pytest.mark.long
@pytest.mark.skipif(
    not shutil.which(LOCALEMU),
    reason="LocalEmu is not here: `make test-long` installs it where it finds Python 3.13",
)
def test_in_a_network_of_its_own():
    if not can_be_made():
        pytest.skip("no network namespace can be made here")
    program = ["-m", "pytest", "-q", "-n0", str(HERE / "localemu.py")]
    environment = {"ENVELOPE_TEST_LOCALEMU": LOCALEMU, "NO_PROXY": "127.0.0.1"}
    done = alone(program, {**os.environ, **environment})
    assert done.returncode == 0, done.stdout
