"""Nobody can refer themselves, but under other names they can, and those names have things in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, Sum

from accounts.models import User
from config.back_office.alerts import circles, streams
from config.back_office.alerts.circles import Circle
from config.back_office.alerts.rules import Rule
from core.money import show
from referrals.models import Commission

#: Referees looked at of one referrer, newest first.
REFEREES_MAX = 1_000


def addresses(rule: Rule, shared: Collection[str], *, since: datetime) -> list[Circle]:
    """The circles around these network addresses, as far as this rule takes them for places where few people are."""
    return circles.around_addresses(
        shared,
        since=since,
        within=timedelta(days=rule.terms["days"]),
        people_max=rule.terms["people_max"],
        networks_passed_over=rule.terms["networks_passed_over"],
    )


def referrers_in(found: Iterable[Circle]) -> set[UUID]:
    """Everybody one of whose referees shares a circle with them, or with another of their referees."""
    found = list(found)
    people = {person for circle in found for person in circle.people}
    referrer_of = dict(User.objects.filter(pk__in=people).values_list("pk", "referred_by_id"))
    referrers = set()
    for circle in found:
        came_by = [referrer_of[person] for person in circle.people if referrer_of.get(person) is not None]
        referrers |= {one for one in came_by if one in circle.people or came_by.count(one) > 1}
    return referrers


def links_of(referrer: UUID, rule: Rule, *, since: datetime) -> dict[UUID, set[str]]:
    """The referees of one referrer who have something in common with them or with each other, and what that is."""
    newest = User.objects.filter(referred_by=referrer).order_by("-pk").values_list("pk", flat=True)[:REFEREES_MAX]
    family = {referrer, *newest}
    found = circles.around_bank_accounts(family)
    found += addresses(rule, circles.addresses_of(family, since=since), since=since)
    found += circles.of_transfers(family, since=since)
    links: dict[UUID, set[str]] = defaultdict(set)
    for circle in found:
        relatives = family.intersection(circle.people)
        if len(relatives) > 1:
            for person in relatives - {referrer}:
                links[person].add(circle.kind)
    return dict(links)


def commissions(referrer: UUID, referees: Collection[UUID], *, since: datetime) -> list[dict[str, Any]]:
    """What the referrer was promised since a moment, by currency, and how much of it for these referees."""
    earned = Commission.objects.filter(owner=referrer, pk__gte=streams.ids_from(since), created_at__gt=since)
    sums = earned.values("currency").annotate(
        total=Sum("amount"), theirs=Sum("amount", filter=Q(client__in=list(referees)))
    )
    return [
        {
            "currency": row["currency"],
            "total": show(row["total"], row["currency"]),
            "theirs": show(row["theirs"] or row["total"] * 0, row["currency"]),
        }
        for row in sums.order_by("currency")
    ]
