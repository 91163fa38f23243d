"""Nothing is exported that nobody asked for by name, and what was exported can be recognised years later."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError, NotFound
from core.ids import HOUSE
from trading.models import Instrument
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)


class ExportIsMade(DomainError):
    code = "EXPORT_IS_MADE"
    message = "This export was finished before."
    status = 409


@retry_on_conflict
@transaction.atomic(durable=True)
def ask_for_client(*, client: UUID, period: Period, reason: str, actor: Actor) -> Export:
    """
    Put on record that somebody wants everything about a client over a period; it can then be packed.

    :raises ReasonRequired: without a reason
    :raises NotFound: if there is no such client
    """
    require_reason(reason)
    if client == HOUSE or not User.objects.filter(pk=client, is_staff=False).exists():
        raise NotFound
    return _ask(Export(owner_id=client, kind=Export.Kind.CLIENT, subject=str(client)), period, reason, actor)


@retry_on_conflict
@transaction.atomic(durable=True)
def ask_for_instrument(*, symbol: str, period: Period, reason: str, actor: Actor) -> Export:
    """
    Put on record that somebody wants everything about an instrument over a period; it can then be packed.

    :raises ReasonRequired: without a reason
    :raises NotFound: if there is no such instrument
    """
    require_reason(reason)
    if not Instrument.objects.filter(pk=symbol).exists():
        raise NotFound
    return _ask(Export(owner_id=HOUSE, kind=Export.Kind.INSTRUMENT, subject=symbol), period, reason, actor)


@retry_on_conflict
@transaction.atomic(durable=True)
def finish_export(*, export_id: UUID, rows: int, manifest_digest: bytes, actor: Actor) -> Export:
    """
    Put on record what an export came to, once and for all.

    :raises ExportIsMade: if it is on record already
    """
    export = Export.objects.select_for_update(no_key=True).order_by("pk").get(pk=export_id)
    if export.made_at is not None:
        raise ExportIsMade
    export.rows, export.manifest_digest, export.made_at = rows, manifest_digest, timezone.now()
    export.save(update_fields=["rows", "manifest_digest", "made_at"])
    audit.record(
        "config.export.made",
        actor=actor,
        owner=export.owner_id,
        subject=export,
        after={"rows": rows, "manifest_digest": manifest_digest.hex(), **_about(export)},
        reason=export.reason,
    )
    transaction.on_commit(partial(logger.info, "config.export.made", export_id=str(export.pk), rows=rows), robust=True)
    return export


def _ask(export: Export, period: Period, reason: str, actor: Actor) -> Export:
    assert actor.kind != ActorKind.CLIENT
    export.period_from, export.period_to = period
    export.asked_by_id, export.reason, export.asked_at = actor.id, reason, timezone.now()
    export.save(force_insert=True)
    audit.record(
        "config.export.asked",
        actor=actor,
        owner=export.owner_id,
        subject=export,
        after=_about(export),
        reason=reason,
    )
    transaction.on_commit(
        partial(logger.info, "config.export.asked", export_id=str(export.pk), actor_id=str(actor.id)), robust=True
    )
    return export


def _about(export: Export) -> dict[str, object]:
    return {
        "kind": export.kind,
        "subject": export.subject,
        "period_from": export.period_from,
        "period_to": export.period_to,
    }
