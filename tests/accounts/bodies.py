"""What people send when they sign up, complete and correct; a test changes the one thing it is about."""

from __future__ import annotations

import itertools
from typing import Any

from core.ids import uuid7

_numbers = itertools.count(1)
PASSWORD = "a-quiet-otter-in-may"
IBAN = "GB33BUKB20201555555555"


def key() -> dict[str, Any]:
    """A fresh Idempotency-Key header, as the test client takes headers."""
    return {"HTTP_IDEMPOTENCY_KEY": f"key-{uuid7()}"}


def demo(**changes: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "email": f"newcomer-{number}@example.com",
        "password": PASSWORD,
        "name": f"New Comer {number}",
        "phone": f"+4420794{number:05}",
        "country": "GB",
        **changes,
    }


def live(**changes: Any) -> dict[str, Any]:
    return {
        **demo(),
        "date_of_birth": "1990-05-17",
        "address": {"line1": "1 Test Street", "city": "London", "postal_code": "EC1A 1AA", "country": "GB"},
        "bank": {"holder": "New Comer", "bank_name": "Barclays", "code_type": "IBAN", "number": IBAN},
        **changes,
    }
