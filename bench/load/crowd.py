"""The clients behind the load: real accounts with really posted money, made in bulk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

CASH = Decimal("10000.00")
MARGIN = Decimal("10000.00")
#: Wallets funded by one posting: its entries are judged together, so fewer are not safer and more are not faster.
FUNDED_AT_ONCE = 250
MADE_AT_ONCE = 2_000
IDLE_AT_ONCE = 100_000
TOKEN_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Member:
    """A client as the load needs to know them."""

    token: str
    cash: str
    margin: str
    account: str


def gather(count: int) -> list[Member]:
    """
    So many verified live clients, each with cash and margin wallets that hold 10,000.00 USD and a trading account.

    The ledger verifies afterwards as if each had been funded by hand.
    """
    members: list[Member] = []
    for first in range(0, count, MADE_AT_ONCE):
        members += _make(first, min(MADE_AT_ONCE, count - first))
    return members


def keep(members: Sequence[Member], path: Path) -> None:
    path.write_text(json.dumps([asdict(member) for member in members]))


def kept(path: Path) -> list[Member]:
    return [Member(**member) for member in json.loads(path.read_text())]


def add_idle_wallets(count: int) -> None:
    """So many more clients with an empty wallet each: what a look-up has to find its way through."""
    from django.db import connection, transaction

    for first in range(0, count, IDLE_AT_ONCE):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(_IDLE_SQL, [first + 1, min(first + IDLE_AT_ONCE, count)])
        print(f"  {min(first + IDLE_AT_ONCE, count):,} of {count:,} idle wallets", flush=True)


_IDLE_SQL = """
WITH people AS (
    INSERT INTO accounts_user (id, email, name, phone, country, password, is_superuser, is_active, is_staff,
                               referral_code_entered, created_at, updated_at)
    SELECT gen_random_uuid(), 'idle-' || n || '@example.com', 'Idle ' || n, NULL, 'GB', '!', false, true,
           false, '', now(), now()
      FROM generate_series(%s, %s) n
    RETURNING id
)
INSERT INTO wallets_wallet (id, number, owner_id, environment, kind, currency, balance, held, credit,
                            realized_profit, status, deposits_enabled, withdrawals_enabled,
                            trading_enabled, verified, version, head, created_at, updated_at)
SELECT gen_random_uuid(), 'W' || nextval('wallets_number_seq'), id, 'LIVE', 'CASH', 'USD', 0, 0, 0, 0,
       'ACTIVE', true, true, true, true, 0, decode(repeat('00', 32), 'hex'), now(), now()
  FROM people
"""


def _make(first: int, count: int) -> list[Member]:
    from django.db import transaction
    from django.utils import timezone

    from accounts import credentials
    from accounts.models import ApiToken, TradingAccount, User
    from core.ids import uuid7
    from wallets.models import Environment, Kind, Wallet

    now = timezone.now()
    people = [
        User(
            email=f"crowd-{first + n}@example.com",
            name=f"Crowd {first + n}",
            phone=f"+1303{first + n:07}",
            country="GB",
            password="!",  # noqa: S106 - nobody logs in with it
        )
        for n in range(count)
    ]
    wallets = {
        kind: [
            Wallet(
                number=f"W{serial}",
                owner=person,
                environment=Environment.LIVE,
                kind=kind,
                currency="USD",
                verified=True,
            )
            for person, serial in zip(people, _serials("wallets_number_seq", count), strict=True)
        ]
        for kind in (Kind.CASH, Kind.MARGIN)
    }
    accounts = [
        TradingAccount(
            number=str(serial),
            owner=person,
            wallet=wallet,
            environment=Environment.LIVE,
            currency="USD",
            leverage=30,
        )
        for person, wallet, serial in zip(
            people, wallets[Kind.MARGIN], _serials("accounts_number_live_seq", count), strict=True
        )
    ]
    secrets = [credentials.Secret.mint() for _ in people]
    tokens = [
        ApiToken(
            id=uuid7(),
            owner=person,
            name="load",
            prefix=secret.text[:12],
            digest=credentials.token_digest(secret.text),
            scopes=["read", "trade", "transfer", "withdraw"],
            created_at=now,
            last_used_at=now,
            expires_at=now + TOKEN_LIFETIME,
        )
        for person, secret in zip(people, secrets, strict=True)
    ]
    with transaction.atomic():
        User.objects.bulk_create(people, batch_size=1000)
        for made in wallets.values():
            Wallet.objects.bulk_create(made, batch_size=1000)
        TradingAccount.objects.bulk_create(accounts, batch_size=1000)
        ApiToken.objects.bulk_create(tokens, batch_size=1000)
    _fund(wallets[Kind.CASH], CASH)
    _fund(wallets[Kind.MARGIN], MARGIN)
    return [
        Member(secret.text, cash.number, margin.number, account.number)
        for secret, cash, margin, account in zip(
            secrets, wallets[Kind.CASH], wallets[Kind.MARGIN], accounts, strict=True
        )
    ]


def _serials(sequence: str, count: int) -> Iterator[int]:
    from core import db

    rows: list[Any] = db.fetch_all(
        "SELECT nextval(%(sequence)s) FROM generate_series(1, %(count)s::int)", {"sequence": sequence, "count": count}
    )
    return (serial for (serial,) in rows)


def _fund(wallets: Sequence[Any], amount: Decimal) -> None:
    from django.db import transaction
    from django.utils import timezone

    from core.audit import Actor
    from core.idempotency import system_digest
    from core.ids import HOUSE, uuid7
    from wallets import ledger
    from wallets.ledger import Leg, Reason, Type
    from wallets.models import Environment, Kind

    for first in range(0, len(wallets), FUNDED_AT_ONCE):
        with transaction.atomic():
            locked = ledger.lock_wallets_by_id(*(wallet.id for wallet in wallets[first : first + FUNDED_AT_ONCE]))
            house = ledger.house(Kind.HOUSE_ADJUSTMENT, "USD", Environment.LIVE)
            ledger.post(
                [Leg(house, -amount * len(locked), Reason.ADJUSTMENT)]
                + [Leg(wallet, amount, Reason.ADJUSTMENT) for wallet in locked],
                type=Type.ADJUSTMENT,
                owner=HOUSE,
                actor=Actor.system("load"),
                now=timezone.now(),
                digest=system_digest("load", str(uuid7())),
            )
