"""Sealing says: this is how every chain ended today; nobody can make it have ended otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from core import snapshot
from core.db import retry_on_conflict
from core.ids import uuid7
from wallets import seals
from wallets.models import Seal
from wallets.seals import Head

logger = structlog.get_logger(__name__)

_HEADS_SQL = "SELECT id, version, head FROM wallets_wallet WHERE kind IN ('CASH', 'MARGIN') ORDER BY id"


class SealRefused(Exception):
    """The ledger does not stand by its last seal; a new one would cover that up."""


@retry_on_conflict
@transaction.atomic(durable=True)
def seal_ledger(*, key_before: bytes | None = None, on_progress: Callable[[int], None] | None = None) -> Seal:
    """
    Sign the head of every chain as of now, and write the export that the signature is about.

    The last seal is held against the ledger first. `key_before` is the public key of that seal, if the key has been
    replaced since; `on_progress` is told of each wallet.

    :raises SealRefused: if the last seal is not genuine, or a chain no longer passes through its sealed head
    """
    newest, now = seals.newest_export(), timezone.now()
    snapshot.take(read_only=False)
    last = Seal.objects.order_by("sealed_at", "id").last()
    for flaw in seals.examine(last, newest, key=key_before or seals.public_key()):
        raise SealRefused(f"{flaw.check}: {flaw.subject}: {flaw.detail}")

    seal_id = uuid7()
    export = seals.write_export(f"{now:%Y%m%dT%H%M%S%f}Z-{seal_id}", _heads(on_progress), sealed_at=now)
    try:
        seal = Seal.objects.create(
            id=seal_id,
            sealed_at=now,
            wallets=export.wallets,
            entries=export.entries,
            digest=export.digest,
            signature=export.signature,
            public_key=export.public_key,
            export=export.final.name,
        )
        # Before the commit: a seal without its export would prove nothing, while an export whose seal was not recorded
        # is still evidence, and is treated as such.
        seals.publish(export)
    finally:
        export.path.unlink(missing_ok=True)
    transaction.on_commit(
        partial(logger.info, "wallets.ledger.sealed", seal_id=str(seal_id), wallets=export.wallets), robust=True
    )
    return seal


def _heads(on_progress: Callable[[int], None] | None) -> Iterator[Head]:
    for wallet, version, digest in snapshot.stream(_HEADS_SQL):
        yield Head(wallet, version, bytes(digest))
        if on_progress is not None:
            on_progress(1)
