"""What waits for somebody, and for how long: one card a queue, for those who may look into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from config.back_office.pages import PAGES, page, show
from config.back_office.queues import looks, selectors
from core.models import KillSwitch


class Queue(NamedTuple):
    """A queue's page (or a model's list), the permission it takes, what waits in it, and by which column it waits."""

    title: str
    to: str
    permission: str
    rows: Callable[[], QuerySet[Any]]
    by: str
    what: str = "The oldest waits"


QUEUES = (
    Queue("Withdrawals", "withdrawal_queue", "wallets.view_withdrawal", selectors.withdrawals, "created_at"),
    Queue("Verifications", "verification_queue", "accounts.view_verification", selectors.verifications, "submitted_at"),
    Queue("Deposits", "deposit_queue", "wallets.view_deposit", selectors.deposits, "created_at"),
    Queue("Adjustments", "adjustment_queue", "wallets.view_adjustment", selectors.adjustments, "proposed_at"),
    Queue(
        "Referrer changes",
        "accounts_referrerchange_changelist",
        "accounts.view_referrerchange",
        selectors.referrer_changes,
        "proposed_at",
    ),
    Queue("Commissions", "commission_queue", "referrals.view_commission", selectors.commissions, "created_at"),
    Queue("Freezes in force", "freezes", "accounts.view_freeze", selectors.freezes, "placed_at", "The oldest stands"),
)


@page("queues/all/", name="queues", title="Queues", permission="accounts.view_user")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Every queue's depth and the age of its first."""
    cards = []
    for queue in QUEUES:
        if request.user.has_perm(queue.permission):
            depth = selectors.depth(queue.rows, by=queue.by)
            remark = f"{queue.what} {looks.age(depth.since)}" if depth.since is not None else "Nothing waits"
            cards.append(
                {
                    "title": queue.title,
                    "href": reverse(f"admin:{queue.to}"),
                    "count": depth.spelled,
                    "remark": remark,
                }
            )
    if request.user.has_perm(PAGES["kill_switches"].permission):
        thrown = list(KillSwitch.objects.filter(engaged=True).order_by("scope").values_list("scope", flat=True))
        cards.append(
            {
                "title": "Kill switches thrown",
                "href": reverse("admin:kill_switches"),
                "count": str(len(thrown)),
                "remark": ", ".join(thrown) or "Everything runs",
            }
        )
    return show(request, "queues/overview.html", title="Queues", cards=cards)
