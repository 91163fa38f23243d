"""What compliance decides about a person is written on the wallets it stops, under the locks that money moves under."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from accounts import selectors
from accounts.models import Freeze
from core import db
from core.errors import Contended
from wallets import ledger
from wallets.ledger import LockedWallet

#: Which flag of a wallet a freeze clears. A LOGIN freeze has none: it is about tokens.
FLAG_BY_SCOPE = {
    Freeze.Scope.TRADING: "trading_enabled",
    Freeze.Scope.DEPOSITS: "deposits_enabled",
    Freeze.Scope.WITHDRAWALS: "withdrawals_enabled",
}
_LOOKS_MAX = 5


def lock_wallets_of(owner: UUID) -> tuple[LockedWallet, ...]:
    """
    Lock every wallet of a client, and so the client.

    Who waits for the lock may have waited for wallets to be opened, which its first look did not see: it looks again
    until nothing is new. Opening further wallets for a client takes these locks too, so no wallet slips past a freeze.

    :raises Contended: if new wallets keep appearing
    """
    db.require_transaction()
    ids = selectors.wallet_ids(owner)
    for _ in range(_LOOKS_MAX):
        locked = ledger.lock_wallets_by_id(*ids) if ids else ()
        seen, ids = ids, selectors.wallet_ids(owner)
        if ids == seen:
            return locked
    raise Contended


def close_gates(wallets: Iterable[LockedWallet], scopes: Iterable[str]) -> None:
    """Clear the flags that freezes of these scopes stand for."""
    flags = {FLAG_BY_SCOPE[Freeze.Scope(scope)]: False for scope in scopes if scope in FLAG_BY_SCOPE}
    if flags:
        ledger.set_gates(wallets, **flags)


def open_gate(wallets: Iterable[LockedWallet], scope: str) -> None:
    """Set the flag again that a freeze of this scope had cleared."""
    if scope in FLAG_BY_SCOPE:
        ledger.set_gates(wallets, **{FLAG_BY_SCOPE[Freeze.Scope(scope)]: True})
