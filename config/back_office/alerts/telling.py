"""What an alert found, in sentences that a person reads, with a way to everything it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.models import User
from config.back_office.alerts.circles import ADDRESS, BANK_ACCOUNT, TRANSFER
from config.back_office.alerts.models import Alert
from config.back_office.alerts.rules import Code
from config.back_office.cells import anchor

_LINKS = {BANK_ACCOUNT: "a bank account", ADDRESS: "a network address", TRANSFER: "money sent"}


def sentences(alert: Alert) -> list[str]:
    """What was found, in the words of the rule that found it."""
    return _SENTENCES[alert.code](alert.facts)


def movements(alert: Alert) -> list[list[Any]]:
    """The money that was found: what it was, how much, when, and where it is kept."""
    currency = alert.facts.get("currency", "")
    return [
        [what, f"{one['amount']} {currency}", moment(one["at"]), anchor(reverse(page, args=[one["id"]]), one["id"])]
        for what, page, found in (
            ("Deposit", "admin:wallets_ledgertransaction_change", alert.facts.get("deposits", ())),
            ("Withdrawal", "admin:wallets_withdrawal_change", alert.facts.get("withdrawals", ())),
        )
        for one in found
    ]


def people(alert: Alert) -> list[list[Any]]:
    """The others who were found: who they are, and what connects them where that differs from one to the next."""
    found = alert.facts.get("people", ())
    names = dict(User.objects.filter(pk__in=[one["id"] for one in found]).values_list("pk", "name"))
    return [
        [
            client_link(UUID(one["id"]), names.get(UUID(one["id"]), "")),
            ", ".join(_LINKS[kind] for kind in one.get("by", ())),
        ]
        for one in found
    ]


def client_link(client: UUID, name: str) -> SafeString:
    """A way to everything about one client."""
    return anchor(reverse("admin:client", args=[client]), name or client)


def moment(text: str) -> str:
    """A moment as facts keep it, to the minute."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


# --- In the words of each rule --------------------------------------------------------------------------------------


def _large_deposit(facts: Mapping[str, Any]) -> list[str]:
    amount, currency = facts["deposits"][0]["amount"], facts["currency"]
    return [f"Paid in {amount} {currency} at once. This is asked about from {facts['from']} {currency} on."]


def _structuring(facts: Mapping[str, Any]) -> list[str]:
    currency, count = facts["currency"], len(facts["deposits"])
    return [
        f"Paid in {facts['total']} {currency} by {count} deposits within {facts['days']} days.",
        f"Each is below {facts['from']} {currency}, from where on a single one would be asked about.",
    ]


def _in_and_out(facts: Mapping[str, Any]) -> list[str]:
    currency = facts["currency"]
    return [
        f"Asked to take out {facts['paid_out']} {currency}, of {facts['paid_in']} {currency} paid in.",
        f"The deposits are at most {facts['days']} days old, and {_lots(facts['lots'])} lots were traded in between.",
        f"This is asked about from {facts['percent']} percent on, below {_lots(facts['lots_from'])} lots.",
    ]


def _dormant_waking(facts: Mapping[str, Any]) -> list[str]:
    (one,) = facts.get("deposits", []) + facts.get("withdrawals", [])
    verb = "paid in" if "deposits" in facts else "asked to take out"
    return [
        f"Had done nothing for at least {facts['days']} days, until {moment(facts['woke_at'])}.",
        f"Then {verb} {one['amount']} {facts['currency']}.",
        f"This is asked about from {facts['from']} {facts['currency']} on.",
    ]


def _shared_bank_account(facts: Mapping[str, Any]) -> list[str]:
    return [f"Put a bank account ending in {facts['last_four']} on file that other clients had on file before."]


def _shared_address(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"Acted from {facts['address']}, where other clients had acted before; all of them within {facts['days']} days."
    ]


def _referral_ring(facts: Mapping[str, Any]) -> list[str]:
    told = [
        f"Referred {len(facts['people'])} clients who have something in common, with the referrer or with each other."
    ]
    told += [
        f"Of {one['total']} {one['currency']} in commissions within {facts['days']} days, {one['theirs']}"
        f" {one['currency']} is for what they did."
        for one in facts["commissions"]
    ]
    return told


def _lots(text: str) -> str:
    """Without the zeros that a column's scale appends."""
    return text.rstrip("0").rstrip(".") if "." in text else text


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    Code.LARGE_DEPOSIT: _large_deposit,
    Code.STRUCTURING: _structuring,
    Code.IN_AND_OUT: _in_and_out,
    Code.DORMANT_WAKING: _dormant_waking,
    Code.SHARED_BANK_ACCOUNT: _shared_bank_account,
    Code.SHARED_ADDRESS: _shared_address,
    Code.REFERRAL_RING: _referral_ring,
}
