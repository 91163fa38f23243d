"""Whether an entry is what it was when it was posted: its link is computed again, there and then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Q

from wallets import seals
from wallets.models import ZERO, Entry, Seal
from wallets.seals import Head, SealUnreadable
from wallets.verification import Link, balance_follows, digest_follows

Place = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One word on one question, why, and whether it is good."""

    word: str
    reason: str
    variant: str


@dataclass(frozen=True, slots=True)
class Standing:
    """
    What can be said of one entry of a client's wallet.

    `before` is about the entry itself: its digest is that of its own facts and of the link before it, and its balance
    follows from the one before. `after` is about what rests on it; `seal` about the last seal.
    """

    before: Finding
    after: Finding
    seal: Finding

    @property
    def is_intact(self) -> bool:
        return self.before.variant == "success"


def standings(entries: Iterable[Entry]) -> dict[UUID, Standing]:
    """
    Hold every chained entry against its neighbours and the last seal, by entry id; legs of the house have no chain.

    The entries come with their wallets, in the caller's snapshot. One query, however many they are.
    """
    chained = [entry for entry in entries if entry.wallet_version is not None]
    if not chained:
        return {}
    seal = Seal.objects.order_by("sealed_at", "id").last()
    heads = {entry.wallet_id: _sealed(seal, entry.wallet_id) for entry in chained}
    places = {
        (entry.wallet_id, entry.owner_id, version)
        for entry in chained
        for version in (*_around(entry), *_versions(heads[entry.wallet_id]))
    }
    wanted = reduce(or_, (Q(wallet=wallet, owner=owner, wallet_version=at) for wallet, owner, at in sorted(places)))
    links = {(link.wallet, link.version): link for link in map(_link, Entry.objects.filter(wanted))}
    return {
        entry.id: Standing(
            before=_before(links, _link(entry)),
            after=_after(links, entry),
            seal=_covered(links, entry, seal, heads[entry.wallet_id]),
        )
        for entry in chained
    }


def _around(entry: Entry) -> tuple[int, ...]:
    assert entry.wallet_version is not None
    return entry.wallet_version - 2, entry.wallet_version - 1, entry.wallet_version + 1


def _versions(head: Head | SealUnreadable | None) -> tuple[int, ...]:
    return (head.version,) if isinstance(head, Head) else ()


def _link(entry: Entry) -> Link:
    assert entry.wallet_version is not None
    assert entry.balance_after is not None
    assert entry.digest is not None
    return Link(
        wallet=entry.wallet_id,
        version=entry.wallet_version,
        transaction=entry.transaction_id,
        reason=entry.reason,
        amount=entry.amount,
        balance_after=entry.balance_after,
        digest=bytes(entry.digest),
        posted_at=entry.posted_at,
    )


def _before(links: dict[Place, Link], entry: Link) -> Finding:
    previous = links.get((entry.wallet, entry.version - 1))
    if previous is None and entry.version != 1:
        return Finding("Broken", f"The entry before it, number {entry.version - 1}, is not there.", "danger")
    if not digest_follows(entry, _digest(previous)):
        return Finding("Broken", "Its digest is not that of its figures and of the link before it.", "danger")
    balance = ZERO if previous is None else previous.balance_after
    if not balance_follows(entry, balance) and (previous is None or _is_believed(links, previous)):
        return Finding("Broken", "Its balance does not follow from the one before it.", "danger")
    return Finding("Intact", "Its digest was computed again, and is the one that was posted.", "success")


def _digest(entry: Link | None) -> bytes:
    return bytes(32) if entry is None else entry.digest


def _is_believed(links: dict[Place, Link], entry: Link) -> bool:
    """Whether an entry has its own digest: one that has not is to blame itself for what does not follow from it."""
    return digest_follows(entry, _digest(links.get((entry.wallet, entry.version - 1))))


def _after(links: dict[Place, Link], entry: Entry) -> Finding:
    own, wallet = _link(entry), entry.wallet
    following = links.get((own.wallet, own.version + 1))
    if following is not None:
        if digest_follows(following, own.digest):
            return Finding("Followed", f"Entry {following.version} rests on it.", "success")
        return Finding("Not followed", f"Entry {following.version} does not follow from it.", "danger")
    if wallet.version > own.version:
        return Finding("Not followed", f"The entry after it, number {own.version + 1}, is not there.", "danger")
    if (wallet.version, bytes(wallet.head)) != (own.version, own.digest):
        return Finding("Not followed", "It is the last one, and the wallet's head is another.", "danger")
    return Finding("Last", "It is the last one, and the wallet's head.", "success")


# --- Seals ----------------------------------------------------------------------------------------------------------


def _sealed(seal: Seal | None, wallet: UUID) -> Head | SealUnreadable | None:
    if seal is None:
        return None
    try:
        return seals.sealed_head(seals.folder() / seal.export, wallet)
    except SealUnreadable as error:
        return error


def _covered(links: dict[Place, Link], entry: Entry, seal: Seal | None, head: Head | SealUnreadable | None) -> Finding:
    assert entry.wallet_version is not None
    if isinstance(head, SealUnreadable):
        return Finding("Not known", "The last seal's export cannot be read from here.", "warning")
    if seal is None or head is None or head.version < entry.wallet_version:
        return Finding("Not yet sealed", "The next seal will cover it.", "default")
    sealed = links.get((entry.wallet_id, head.version))
    if sealed is None or sealed.digest != head.digest:
        return Finding("Contradicted", f"The chain no longer passes through what was sealed at {seal}.", "danger")
    return Finding(
        "Sealed", f"Sealed at {seal} up to entry {head.version}, and the chain still passes there.", "success"
    )
