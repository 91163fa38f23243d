"""What is kept on paper of one deposit, withdrawal, commission, bonus and key, and how a step says what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec

from tests.trading.programs import ZERO

P = ParamSpec("P")

#: Refusals that leave their key free.
NOT_FINAL = {"SAME_WALLET", "BONUS_CLAIMED", "IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_EXPIRED"}


class Refused(Exception):
    """What the desk must answer; by its code."""


def refuse(code: str, *, when: bool = True) -> None:
    if when:
        raise Refused(code)


def step(act: Callable[P, None]) -> Callable[P, str | None]:
    """What a step comes to: None, or the code with which it is refused; nothing has changed then."""

    @wraps(act)
    def told(*args: P.args, **kwargs: P.kwargs) -> str | None:
        try:
            act(*args, **kwargs)
        except Refused as refusal:
            return str(refusal)
        return None

    return told


@dataclass(slots=True)
class Key:
    """An idempotency key that was used: what for, when, and whether it was refused."""

    what: str
    used_at: datetime
    refusal: str | None
    is_purged: bool = False


def keyed(act: Callable[P, None]) -> Callable[P, str | None]:
    """A step that a client can repeat."""
    once = step(act)

    @wraps(act)
    def told(*args: P.args, **kwargs: P.kwargs) -> str | None:
        refusal = once(*args, **kwargs)
        paper: Any = args[0]
        if refusal not in NOT_FINAL:
            paper.keys.append(Key(act.__name__, paper.now, refusal))
        return refusal

    return told


@dataclass(slots=True)
class Purse:
    """A cash wallet."""

    currency: str
    balance: Decimal
    held: Decimal = ZERO
    credit: Decimal = ZERO

    @property
    def available(self) -> Decimal:
        return self.balance - self.held


@dataclass(slots=True)
class Deposit:
    wallet: int
    amount: Decimal
    provider: str
    status: str
    expires_at: datetime
    reference: str = ""


@dataclass(slots=True)
class Withdrawal:
    who: int
    amount: Decimal
    status: str = "REQUESTED"
    approved_by: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Commission:
    """What the n-th close of a position pays somebody."""

    position: int
    nth: int
    level: int
    owner: int
    amount: Decimal
    status: str = "PENDING"


@dataclass(slots=True)
class Bonus:
    expires_at: datetime
    status: str = "ACTIVE"
