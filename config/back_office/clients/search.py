"""One box for everything: what was typed is known by its shape, and looked up where an index has it, or not at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Value
from django.db.models.functions import Collate, Concat, Lower
from django.http import HttpRequest

from accounts import rules
from accounts.models import ApiToken, Freeze, TradingAccount, User, Verification
from config.back_office.cells import place
from config.back_office.clients.looks import client_url, may_look_at
from config.back_office.clients.services import searches
from core.api.requests import actor_of
from core.models import AuditEvent
from referrals.models import Commission
from trading.models import Deal, MarginEvent, Order, Position, Swap
from wallets.bank import BankDetails, BankDetailsInvalid, Scheme, validate_bank_details
from wallets.models import GATED_KINDS, BankAccount, Deposit, Entry, LedgerTransaction, Transfer, Wallet, Withdrawal

#: Longer than anything that is looked for here.
CHARACTERS_MAX = 200
NAMES_SHOWN = 25

#: Above every character of a name, in the order of code points.
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: what it is, whose, and the page to look at. Staff and the house are nobody's client."""

    what: str
    client: User | None
    url: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that the typed text can be, and what was found under it."""

    kind: str
    hits: tuple[Hit, ...]
    nothing: str


def read(request: HttpRequest, typed: str) -> list[Reading]:
    """
    Everything that the text can be, each with what there is, for what this member of staff may look at.

    A handful of look-ups by index, whatever was typed; a search by bank account is put on record.
    """
    text = plain(typed)
    if not text or len(text) > CHARACTERS_MAX:
        return []
    return [
        Reading(kind.name, tuple(kind.look(request, value)), kind.nothing)
        for kind in KINDS
        if request.user.has_perm(kind.permission) and (value := kind.read(text)) is not None
    ]


def plain(typed: str) -> str:
    """The text without what nobody types: control and direction marks; digits of other scripts are digits."""
    folded = unicodedata.normalize("NFKC", typed[: 2 * CHARACTERS_MAX])
    return " ".join("".join(" " if c.isspace() else c for c in folded if c.isspace() or c.isprintable()).split())


# --- What can be typed ------------------------------------------------------------------------------------------------


def _compact(text: str) -> str:
    return re.sub(r"[ \-]", "", text).upper()


def _matching(pattern: str) -> Callable[[str], str | None]:
    shape = re.compile(rf"\A(?:{pattern})\Z", re.ASCII)

    def read(text: str) -> str | None:
        compact = _compact(text)
        return compact if shape.match(compact) else None

    return read


def _email(text: str) -> str | None:
    return text.lower() if re.match(r"\A[^@\s]+@[^@\s]+\Z", text) else None


def _phone(text: str) -> str | None:
    """In E.164; without `+` or `00` the country code is taken to be there all the same."""
    if not re.match(r"\A\+?[0-9 ()./\-]{7,32}\Z", text, re.ASCII):
        return None
    digits = re.sub(r"[^0-9]", "", text).removeprefix("00")
    return f"+{digits}" if 7 <= len(digits) <= 15 else None


def _bank_account(text: str) -> list[BankDetails] | None:
    """
    An IBAN, or a bank's code and then a number; None if it is neither, an empty list if the check digits are wrong.

    A number without its bank's code means many accounts, and is not on file by itself.
    """
    compact = _compact(text)
    if re.match(r"\A[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\Z", compact, re.ASCII):
        return list(_valid([Scheme.IBAN], "", compact))
    code, _, number = text.rpartition(" ")
    if not code or not re.match(r"\A(?=(?:.*[0-9]){4})[A-Z0-9\-]{4,34}\Z", number.upper(), re.ASCII):
        return None
    return list(_valid([Scheme.ABA, Scheme.SORT, Scheme.IFSC, Scheme.BIC], code, number)) or None


def _valid(schemes: list[Scheme], code: str, number: str) -> Iterator[BankDetails]:
    for scheme in schemes:
        try:
            yield validate_bank_details(code_type=scheme, code=code, number=number)
        except BankDetailsInvalid:
            continue


def _uuid(text: str) -> UUID | None:
    if not re.match(r"\A\{?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?\Z", text, re.ASCII | re.IGNORECASE):
        return None
    return UUID(text)


def _token_prefix(text: str) -> str | None:
    """The beginning of a token. Whoever types more of it has leaked it: the rest is not looked at."""
    match = re.match(r"\A(dd_[A-Za-z0-9]{8})(?:_|…|\Z)", text, re.ASCII)
    return match[1] if match else None


def _name(text: str) -> str | None:
    is_name = len(text) >= 3 and not any(c.isdigit() or c in "@_" for c in text)
    return text if is_name else None


# --- What is found under it -------------------------------------------------------------------------------------------


def _person(person: User, what: str = "Client", section: str = "", **parameters: Any) -> Hit:
    if person.number is None:
        return Hit("Staff" if person.is_staff else "The house", person, _url(person))
    return Hit(what, person, client_url(person.pk, section, **parameters))


def _url(row: Any) -> str:
    found = place(row)
    assert found is not None, "what can be found can be looked at"
    return found.url


def _client_with(column: str) -> Callable[[HttpRequest, str], Iterator[Hit]]:
    return lambda _request, value: map(_person, User.objects.filter(**{column: value}))


def _by_email(_request: HttpRequest, email: str) -> Iterator[Hit]:
    yield from map(_person, User.objects.with_email(email))


def _by_account(_request: HttpRequest, number: str) -> Iterator[Hit]:
    for row in TradingAccount.objects.select_related("owner").filter(number=number):
        yield _person(row.owner, f"Trading account {row.number} ({row.environment})")


def _by_wallet(_request: HttpRequest, number: str) -> Iterator[Hit]:
    for row in Wallet.objects.select_related("owner").filter(number=number, kind__in=GATED_KINDS):
        yield _person(row.owner, f"Wallet {row.number} ({row.environment})", "wallets", wallet=row.number)


def _by_position(_request: HttpRequest, number: str) -> Iterator[Hit]:
    for row in Position.objects.select_related("owner").filter(number=int(number)):
        yield Hit(f"Position {row}", row.owner, _url(row))


def _by_token(_request: HttpRequest, prefix: str) -> Iterator[Hit]:
    for row in ApiToken.objects.select_related("owner").filter(prefix=prefix)[:NAMES_SHOWN]:
        yield _person(row.owner, f"Token {row.prefix}", "access")


def _by_bank_account(request: HttpRequest, accounts: list[BankDetails]) -> Iterator[Hit]:
    if accounts:
        for row in searches.find_by_bank_account(accounts=accounts, actor=actor_of(request)):
            yield _person(row.owner, f"Bank account {row}")


def _by_name(_request: HttpRequest, name: str) -> Iterator[Hit]:
    """Clients whose name begins like this, in whatever case: a range of the index on names."""
    first = Collate(Lower(Value(name)), "C")
    last = Collate(Concat(Lower(Value(name)), Value(_LAST)), "C")
    rows = User.objects.annotate(folded=Collate(Lower("name"), "C")).filter(
        folded__gte=first, folded__lt=last, number__isnull=False
    )
    yield from map(_person, rows.order_by("folded", "id")[:NAMES_SHOWN])


#: Whatever has an id of its own that somebody may quote.
OBJECTS: tuple[Any, ...] = (
    LedgerTransaction,
    Deposit,
    Withdrawal,
    Transfer,
    Order,
    Position,
    Deal,
    TradingAccount,
    Wallet,
    Entry,
    BankAccount,
    Verification,
    Freeze,
    Commission,
    Swap,
    MarginEvent,
    ApiToken,
    AuditEvent,
)


def _by_id(request: HttpRequest, id_: UUID) -> Iterator[Hit]:
    """A client, or the one row that has this id: an id is given once, so the search ends there."""
    person = User.objects.filter(pk=id_).first()
    if person is not None:
        yield _person(person)
        return
    for model in OBJECTS:
        if not may_look_at(request, model):
            continue
        row: Any = model.objects.filter(pk=id_).first()
        if row is not None:
            owner = User.objects.filter(pk=row.owner if isinstance(row, AuditEvent) else row.owner_id).first()
            yield Hit(f"{str(model._meta.verbose_name).capitalize()} {row}", owner, _url(row))
            return


class Kind(NamedTuple):
    """A kind of thing that can be typed: its shape, who may look it up, and what to say when there is none."""

    name: str
    read: Callable[[str], Any]
    permission: str
    look: Callable[[HttpRequest, Any], Iterator[Hit]]
    nothing: str


KINDS = (
    Kind(
        "a client number",
        _matching(r"C[0-9]{7,18}"),
        "accounts.view_user",
        _client_with("number"),
        "there is no such client",
    ),
    Kind("a wallet number", _matching(r"W[0-9]{7,18}"), "wallets.view_wallet", _by_wallet, "there is no such wallet"),
    Kind(
        "a trading account's number",
        _matching(r"[0-9]{7,18}"),
        "accounts.view_tradingaccount",
        _by_account,
        "there is no such account",
    ),
    Kind(
        "a position's number",
        lambda text: _matching(r"[0-9]{7,18}")(text.removeprefix("#")),
        "trading.view_position",
        _by_position,
        "there is no such position",
    ),
    Kind("an email address", _email, "accounts.view_user", _by_email, "nobody has it"),
    Kind("a phone number", _phone, "accounts.view_user", _client_with("phone"), "nobody has it"),
    Kind(
        "a referral code",
        rules.read_referral_code,
        "accounts.view_user",
        _client_with("referral_code"),
        "nobody has given it out",
    ),
    Kind(
        "a bank account",
        _bank_account,
        "wallets.view_bankaccount",
        _by_bank_account,
        "nobody has it on file, or its check digits are wrong",
    ),
    Kind("an id", _uuid, "accounts.view_user", _by_id, "nothing that you may look at has it"),
    Kind("a token's beginning", _token_prefix, "accounts.view_apitoken", _by_token, "no token begins like this"),
    Kind("the beginning of a name", _name, "accounts.view_user", _by_name, "no client's name begins like this"),
)
