"""Who a client is: what they told us, what was checked, who brought them, and how they get in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts import selectors as people
from accounts.models import ApiToken, Freeze, User, Verification
from config.back_office.cells import Row, anchor, link
from config.back_office.clients.looks import (
    Look,
    Table,
    client_url,
    environment_label,
    listed,
    moment,
    money,
    number,
    status_label,
)
from config.back_office.clients.models import ClientNote
from config.back_office.masking import masked_email, masked_phone
from core.ids import HOUSE
from core.models import AuditEvent
from referrals import selectors as referrals
from referrals.models import Commission
from trading import engine, selectors
from trading.serializers import account_document
from wallets.models import LedgerTransaction

#: Nobody needs to know how many more.
REFEREES_COUNTED_MAX = 1_000
VERIFICATIONS_SHOWN = 5

#: What an audit event is called when somebody got in, or was put out.
SIGN_INS = (
    "accounts.session.opened",
    "accounts.sessions.revoked",
    "accounts.token.created",
    "accounts.token.revoked",
)


# --- Overview ---------------------------------------------------------------------------------------------------------


def overview(look: Look) -> list[Table]:
    tables = [_profile(look)]
    if look.may("accounts.view_tradingaccount"):
        tables.append(_trading_accounts(look))
    if look.may("accounts.view_verification"):
        tables.append(_verifications(look))
    return tables


def _profile(look: Look) -> Table:
    """What a client told us about themselves; who only answers the telephone sees enough to recognise them by."""
    client, clear = look.client, look.sees_personal_data
    confirmed = "confirmed" if client.email_confirmed_at else "not confirmed"
    address, born = _address(client.address or {}), client.date_of_birth.isoformat() if client.date_of_birth else ""
    rows: list[list[Any]] = [
        ["Number", client.number],
        ["Name", client.name],
        ["Email", f"{client.email if clear else masked_email(client.email)} ({confirmed})"],
        ["Phone", client.phone if clear else masked_phone(client.phone)],
        ["Country", client.country],
        ["Date of birth", born if clear else "on file" if born else ""],
        ["Address", address if clear else "on file" if address else ""],
        ["Signed up", moment(client.created_at)],
        ["Last log-in", moment(client.last_login)],
        ["Referral code", client.referral_code],
        ["Referred by", _person(look, client.referred_by)],
        ["Has referred", _referees_counted(client.pk)],
        ["Id", client.pk],
    ]
    return Table("Profile", (), rows, remark="" if clear else "Personal data is masked for your role.")


def _address(address: dict[str, str]) -> str:
    lines = ("line1", "line2", "city", "region", "postal_code", "country")
    return listed(address[line] for line in lines if address.get(line))


def _person(look: Look, person: User | None) -> Any:
    if person is None:
        return ""
    if person.number is None:
        return look.to(person, person.name)
    return anchor(client_url(person.pk), f"{person.number} {person.name}")


def _referees_counted(client: UUID) -> str:
    count = User.objects.filter(referred_by_id=client)[: REFEREES_COUNTED_MAX + 1].count()
    return f"more than {REFEREES_COUNTED_MAX}" if count > REFEREES_COUNTED_MAX else str(count)


def _trading_accounts(look: Look) -> Table:
    """With the money in them for whoever may see money; else the accounts alone."""
    title, client = "Trading accounts", look.client
    if not look.may("wallets.view_wallet"):
        rows = [
            [account.number, environment_label(account.environment), account.currency, f"1:{account.leverage}"]
            for account in people.trading_accounts(client.pk)
        ]
        return Table(title, ("Number", "Environment", "Currency", "Leverage"), rows)
    summaries = [
        engine.summarise(account, book, market)
        for account, book, market in selectors.valued_accounts(client.pk, timezone.now())
    ]
    figures = (
        "balance", "credit", "floating", "equity", "held", "free_margin", "margin_level", "open_positions",
        "working_orders",
    )  # fmt: skip
    documents = [(summary.account, account_document(summary)) for summary in summaries]
    return Table(
        title,
        ("Number", "Environment", "Currency", "Leverage", *(name.replace("_", " ") for name in figures)),
        [
            [
                look.to(account, account.number),
                environment_label(account.environment),
                account.currency,
                f"1:{account.leverage}",
                *(document[name] for name in figures),
            ]
            for account, document in documents
        ],
        remark="The margin level is in percent. Where no price converts a floating profit, it is a dash.",
    )


def _verifications(look: Look) -> Table:
    """The newest counts. Where a document lies is personal data; what it is, is not."""
    rows = Verification.objects.select_related("reviewed_by").filter(owner=look.client).order_by("-id")
    return Table(
        "Verification",
        ("Status", "Documents", "Submitted", "Reviewed", "By", "Reason"),
        [
            [
                status_label(row.status),
                listed(_document(document, clear=look.sees_personal_data) for document in row.documents),
                moment(row.submitted_at),
                moment(row.reviewed_at),
                "" if row.reviewed_by is None else row.reviewed_by.name,
                row.reason,
            ]
            for row in rows[:VERIFICATIONS_SHOWN]
        ],
    )


def _document(document: dict[str, Any], *, clear: bool) -> str:
    return f"{document['kind']} ({document['reference']})" if clear else str(document["kind"])


# --- Referrals --------------------------------------------------------------------------------------------------------


def referred(look: Look) -> list[Table]:
    return [
        look.table(
            "commissions",
            referrals.commissions(look.client.pk),
            lambda row: _commission(look, row),
            title="Commissions earned",
            headers=("Time", "Level", "Amount", "Status", "For", "Plan", "Client", "Transaction"),
        ),
        look.table(
            "referees",
            User.objects.filter(referred_by=look.client),
            lambda row: [_person(look, row), row.country, moment(row.created_at)],
            title="Clients referred",
            headers=("Client", "Country", "Signed up"),
        ),
    ]


def _commission(look: Look, row: Commission) -> list[Any]:
    return [
        moment(row.created_at),
        row.level,
        money(row.amount, row.currency),
        status_label(row.status),
        "first deposit" if row.deal is None else look.to(row.deal, f"{number(row.volume)} {row.deal.instrument_id}"),
        row.plan,
        _person(look, row.client),
        "" if row.transaction_id is None else _transaction(look, row.transaction_id),
    ]


def _transaction(look: Look, key: UUID) -> Any:
    return link(look.request, Row(LedgerTransaction._meta.label, key), key)


# --- How they get in --------------------------------------------------------------------------------------------------


def access(look: Look) -> list[Table]:
    now = timezone.now()
    tables = [
        look.table(
            "tokens",
            ApiToken.objects.filter(owner=look.client),
            lambda row: [
                row.prefix,
                row.name,
                listed(row.scopes),
                _token_status(row, now),
                moment(row.created_at),
                moment(row.last_used_at),
                moment(row.expires_at),
            ],
            title="Tokens",
            headers=("Prefix", "Name", "Scopes", "Status", "Created", "Last used", "Ends"),
        )
    ]
    if look.may("core.view_auditevent"):
        tables.append(
            look.table(
                "sign_ins",
                AuditEvent.objects.filter(owner=look.client.pk, action__in=SIGN_INS),
                lambda row: [
                    moment(row.created_at),
                    row.action,
                    row.actor_kind,
                    row.address if look.sees_personal_data else "",
                    row.request_id,
                ],
                title="Sign-ins",
                headers=("Time", "What", "Who", "Address", "Request"),
            )
        )
    return tables


def _token_status(token: ApiToken, now: Any) -> Any:
    if token.revoked_at is not None:
        return status_label("REVOKED")
    return status_label("IN FORCE" if token.expires_at > now else "EXPIRED")


# --- Freezes and notes ------------------------------------------------------------------------------------------------


def freezes(look: Look) -> list[Table]:
    rows = list(Freeze.objects.filter(owner=look.client).order_by("-id"))  # each was placed by hand
    names = staff_names([*(row.placed_by for row in rows), *(row.lifted_by for row in rows)])
    return [
        Table(
            "Freezes",
            ("Scope", "Status", "Placed", "By", "Reason", "Ends", "Lifted", "By", "Reason"),
            [
                [
                    look.to(row, row.scope),
                    status_label("FROZEN" if row.lifted_at is None else "LIFTED"),
                    moment(row.placed_at),
                    names.get(row.placed_by),
                    row.reason,
                    moment(row.expires_at),
                    moment(row.lifted_at),
                    names.get(row.lifted_by),
                    row.lift_reason,
                ]
                for row in rows
            ],
        )
    ]


def notes(look: Look) -> list[Table]:
    return [
        look.table(
            "notes",
            ClientNote.objects.select_related("author").filter(owner=look.client),
            lambda row: [moment(row.created_at), row.author.name, row.text],
            title="Notes",
            headers=("Time", "By", "Note"),
            remark="A note stays as it was written. The client never sees it.",
        )
    ]


def staff_names(ids: Iterable[UUID | None]) -> Mapping[UUID | None, str]:
    """What members of staff are called, and the desk itself; a client is not among them."""
    wanted = {id_ for id_ in ids if id_ is not None}
    rows = User.objects.filter(pk__in=wanted, is_staff=True).values_list("pk", "name", "email")
    return {HOUSE: "the desk", **{pk: name or email for pk, name, email in rows}}
