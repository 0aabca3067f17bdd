"""What was measured on."""

from __future__ import annotations

import platform

import cryptography
import django


def versions(*others: str) -> str:
    return ", ".join(
        (
            f"Python {platform.python_version()}",
            f"Django {django.__version__}",
            f"cryptography {cryptography.__version__}",
            *others,
        )
    )
