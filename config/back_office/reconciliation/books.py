"""The desk's books against each other: what no constraint can say, because it is about many rows, or about time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from config.back_office.reconciliation.findings import Comparison, Finding, amount
from config.back_office.reconciliation.models import Break
from core import snapshot
from core.models import JobRun
from wallets.models import PaymentReport, Withdrawal
from wallets.verification import QUERIES

Kind = Break.Kind

#: What every night's checks have to say is taken over from their last run.
VERIFICATIONS = ("verify_ledger", "verify_positions", "verify_commissions", "verify_audit")
COMPARED = ("clearing_wallets", "payment_reports", "withdrawals_sent", "verifications")
#: Differences of one kind that are told one by one; a million of them have one cause, not a million.
TOLD_MAX = 1_000

# A clearing wallet is the sum of what came in and went out through it. Its reversals are there with the other sign, so
# what counts is what is completed and was not taken back.
_CLEARING_SQL = """
WITH payments AS (
    SELECT 'HOUSE_PAYMENT_CLEARING' AS kind, w.currency, w.environment, -d.amount AS amount
      FROM wallets_deposit d JOIN wallets_wallet w ON w.id = d.wallet_id WHERE d.status = 'COMPLETED'
    UNION ALL
    SELECT 'HOUSE_WITHDRAWAL_CLEARING', w.currency, w.environment, d.amount
      FROM wallets_withdrawal d JOIN wallets_wallet w ON w.id = d.wallet_id WHERE d.status = 'COMPLETED'
), expected AS (
    SELECT kind, currency, environment, sum(amount) AS amount FROM payments GROUP BY 1, 2, 3
), unfolded AS (
    SELECT wallet_id, sum(amount) AS amount FROM wallets_unfoldedleg GROUP BY 1
), held AS (
    SELECT w.kind, w.currency, w.environment, w.balance + coalesce(u.amount, 0) AS amount
      FROM wallets_wallet w LEFT JOIN unfolded u ON u.wallet_id = w.id
     WHERE w.kind IN ('HOUSE_PAYMENT_CLEARING', 'HOUSE_WITHDRAWAL_CLEARING')
)
SELECT kind, currency, environment, coalesce(e.amount, 0), coalesce(h.amount, 0)
  FROM expected e FULL JOIN held h USING (kind, currency, environment)
 ORDER BY 1, 2, 3
"""

# A payment is credited by the deposit that carries its reference, with its amount. One that was credited and then
# reversed was credited.
_UNCREDITED_SQL = """
SELECT r.provider, r.reference, r.amount, r.currency, r.last_received_at, d.id, d.status, d.provider_reference
  FROM wallets_paymentreport r
  LEFT JOIN wallets_deposit d ON d.id = r.deposit_ref
 WHERE r.succeeded
   AND NOT EXISTS (SELECT FROM wallets_deposit c
                    WHERE c.provider = r.provider AND c.provider_reference = r.reference AND c.id = r.deposit_ref
                      AND c.amount = r.amount AND c.currency = r.currency AND c.status IN ('COMPLETED', 'REVERSED'))
 ORDER BY r.id
"""


def compare(*, now: datetime, sent_for: timedelta) -> Comparison:
    """
    Hold the books against each other as of one moment, without locking anything.

    A withdrawal that was SENT longer ago than `sent_for`, and that nobody has confirmed, is a break.
    """
    result = Comparison(compared=dict.fromkeys(COMPARED, 0))
    told: Counter[Break.Kind] = Counter()
    with transaction.atomic(durable=True):
        snapshot.take()
        for finding in itertools.chain(
            _clearing(result, now),
            _uncredited(result),
            _unposted(now),
            _unconfirmed(result, now, sent_for),
            _failed(result),
        ):
            told[finding.kind] += 1
            if told[finding.kind] <= TOLD_MAX:
                result.findings.append(finding)
    result.compared |= {
        f"{kind.lower()}_not_told": count - TOLD_MAX for kind, count in told.items() if count > TOLD_MAX
    }
    return result


def _clearing(result: Comparison, now: datetime) -> Iterator[Finding]:
    for kind, currency, environment, expected, held in snapshot.stream(_CLEARING_SQL):
        result.compared["clearing_wallets"] += 1
        if expected != held:
            yield Finding(
                Kind.CLEARING_DIFFERS,
                f"{kind} {currency} {environment}",
                amount(expected, currency),
                amount(held, currency),
                now,
                currency,
            )


def _uncredited(result: Comparison) -> Iterator[Finding]:
    result.compared["payment_reports"] = PaymentReport.objects.count()
    for provider, reference, paid, currency, seen_at, deposit, status, taken in snapshot.stream(_UNCREDITED_SQL):
        if deposit is None:
            found = "no such deposit"
        elif taken is not None and taken != reference:
            found = f"deposit {status}, by payment {taken}"
        else:
            found = f"deposit {status}"
        yield Finding(
            Kind.PAYMENT_NOT_CREDITED,
            f"{provider} {reference} {amount(paid, currency)}",
            f"credited {amount(paid, currency)}",
            found,
            seen_at,
            currency,
            "wallets.deposit" if deposit else "",
            deposit,
        )


def _unposted(now: datetime) -> Iterator[Finding]:
    """As the ledger's own verification asks it; here somebody looks after it."""
    for kind, query in (
        (Kind.DEPOSIT_NOT_POSTED, QUERIES["deposits_agree"]),
        (Kind.WITHDRAWAL_NOT_POSTED, QUERIES["withdrawals_agree"]),
    ):
        for subject, detail in snapshot.stream(query):
            what, _, id_ = subject.partition(" ")
            model = "wallets.ledgertransaction" if what == "transaction" else f"wallets.{what}"
            yield Finding(kind, subject, "posted as it says", detail[:255], now, "", model, UUID(id_))


def _unconfirmed(result: Comparison, now: datetime, sent_for: timedelta) -> Iterator[Finding]:
    sent = Withdrawal.objects.filter(status=Withdrawal.Status.SENT)
    result.compared["withdrawals_sent"] = sent.count()
    for one in sent.filter(sent_at__lt=now - sent_for).order_by("sent_at", "pk"):
        yield Finding(
            Kind.WITHDRAWAL_UNCONFIRMED,
            f"withdrawal {one.pk}",
            f"{amount(one.amount, one.currency)} paid or returned",
            f"sent {one.sent_at:%Y-%m-%d}",
            now,
            one.currency,
            "wallets.withdrawal",
            one.pk,
        )


# --- Verifications --------------------------------------------------------------------------------------------------


def _failed(result: Comparison) -> Iterator[Finding]:
    """What the last run of each verification has found; one that did not come to its end is a break of its own."""
    for name in VERIFICATIONS:
        run = JobRun.objects.filter(name=name).exclude(status=JobRun.Status.RUNNING).order_by("-started_at").first()
        if run is None or run.ended_at is None:
            continue
        result.compared["verifications"] += 1
        if run.status != JobRun.Status.FAILED:
            continue
        told = run.counts.get("breaks") or []
        if not told:
            yield Finding(Kind.VERIFICATION_FAILED, name, "run to its end", run.error[:255], run.ended_at)
        for one in told:
            subject, detail = _told(one)
            yield Finding(
                Kind.VERIFICATION_FAILED,
                f"{name} {one['check']} {subject}"[:255],
                "no break",
                detail[:255] or "broken",
                run.ended_at,
            )


def _told(one: dict[str, Any]) -> tuple[str, str]:
    """A break by its subject and what is wrong with it: the ledger tells both, the other rooms the facts of the row."""
    if "subject" in one:
        return str(one["subject"]), str(one.get("detail", ""))
    subject, *facts = [str(fact) for fact in one.get("facts", [])] or [""]
    return subject, ", ".join(facts)
