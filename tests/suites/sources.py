"""The source distributions of what is installed here, which have the tests."""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

DIRECTORY = Path(sys.prefix) / "sources"


def unpacked(package: str) -> Path:
    """Return the directory of a package's source, of the version that is installed."""
    name = f"{package}-{version(package)}"
    directory = DIRECTORY / name
    if not directory.exists():
        with tarfile.open(_downloaded(package, version(package))) as archive:
            archive.extractall(DIRECTORY / f"{name}.part", filter="data")
        (unpacked,) = (DIRECTORY / f"{name}.part").iterdir()
        unpacked.rename(directory)
        (DIRECTORY / f"{name}.part").rmdir()
    return directory


def _downloaded(package: str, its_version: str) -> Path:
    directory = DIRECTORY / "archives" / package
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    options = ["--no-deps", "--no-binary", package, "--dest", str(directory)]
    subprocess.run([*pip, *options, f"{package}=={its_version}"], check=True)
    (archive,) = directory.glob(f"*-{its_version}.tar.gz")
    return archive
