"""Reading answers: what a refusal was called, and which fields it named."""

from __future__ import annotations

import json
from typing import Any


def body(response: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(response.content)
    return parsed


def outcome(response: Any) -> tuple[int, str]:
    """Status and code; an accepted request has no code."""
    return response.status_code, body(response).get("code", "") if response.content else ""


def fields(response: Any) -> list[str]:
    """The fields a refusal named."""
    return [error["field"] for error in body(response)["errors"]]
