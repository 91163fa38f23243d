"""The environment that settings ask for, where nobody has set one: fresh secrets for the demo, for tests and for checks."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"


def fresh_secrets() -> dict[str, str]:
    """Every secret that settings have no default for."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "FIELD_HASH_KEY": secrets.token_urlsafe(48),
        "PAYMENT_WEBHOOK_SECRET": secrets.token_urlsafe(48),
        "LEDGER_SEAL_KEY": secrets.token_hex(32),
    }


def install(values: dict[str, str]) -> None:
    """Put the values into this process's environment; a `NAME_FILE` beside them would win, so it goes."""
    for name, value in values.items():
        os.environ.pop(f"{name}_FILE", None)
        os.environ[name] = value
