"""Django's accounts and its admin, where users are known by an encrypted address."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parents[3]


def test_users_log_in_by_an_encrypted_address():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "tests.accounts.suite"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.accounts.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
