"""The tests of a project are collected where its settings are in use, and nowhere else."""

import os
from pathlib import Path

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path):
    if collection_path.parent == HERE and collection_path.is_dir():
        used = os.environ.get("DJANGO_SETTINGS_MODULE", "")
        return used != f"tests.neighbours.{collection_path.name}.settings"
    return None
