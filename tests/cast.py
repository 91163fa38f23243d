"""The cast: Alice owns, Bob is another client, Carol is staff; and as many more clients as a test needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import credentials, jurisdictions
from accounts.models import ApiToken, TradingAccount, User
from core.audit import Actor, ActorKind
from core.idempotency import system_digest
from core.ids import uuid7
from tests import factories
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Reason, Type
from wallets.models import Environment, Kind, Wallet

PASSWORD = factories.PASSWORD
CLIENT_SCOPES = ("read", "trade", "transfer", "withdraw")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CastMember:
    """
    A client with everything a test may want to touch.

    `cash`, `margin` and `account` are rows as they were made: `refresh_from_db` before comparing. `api` sends `token`
    with every request. A demo client of the cast has a cash wallet too, which sign-up does not give.
    """

    user: User
    cash: Wallet
    margin: Wallet
    account: TradingAccount
    token: str = field(repr=False)
    api: APIClient = field(repr=False)

    @property
    def id(self) -> object:
        return self.user.pk

    @property
    def actor(self) -> Actor:
        return Actor(id=self.user.pk, kind=ActorKind.CLIENT)


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A member of staff and the actor they are to a service."""

    user: User

    @property
    def actor(self) -> Actor:
        return Actor(id=self.user.pk, kind=ActorKind.STAFF)


def alice() -> CastMember:
    """A live, verified client with 1,000.00 USD in cash; most tests are about her money."""
    return make_client(email="alice@example.com", name="Alice Archer")


def bob() -> CastMember:
    """Another live, verified client, who must never see or touch what is Alice's."""
    return make_client(email="bob@example.com", name="Bob Bennett")


def carol_staff(*, email: str = "carol@example.com", name: str = "Carol Crane", superuser: bool = True) -> StaffMember:
    """A member of staff who may do everything; name another email for a second pair of eyes."""
    return StaffMember(factories.Staff.create(email=email, name=name, is_superuser=superuser))


def make_client(
    *,
    environment: str = Environment.LIVE,
    currency: str = "USD",
    balance: Decimal = Decimal("1000.00"),
    margin: Decimal = ZERO,
    verified: bool = True,
    leverage: int = 30,
    scopes: Iterable[str] = CLIENT_SCOPES,
    **person: object,
) -> CastMember:
    """
    A client with a cash wallet holding `balance`, a margin wallet holding `margin`, a trading account and a token.

    The money is really posted: as an adjustment when live, against demo funding when demo. `person` overrides columns
    of the user row (email, name, phone, country, ...); a country brings the leverage caps of its jurisdiction.
    """
    with transaction.atomic():
        user = factories.Person.create(**person)
        opened = {
            kind: ledger.open_wallet(
                owner=user.pk,
                environment=environment,
                kind=kind,
                currency=currency,
                verified=verified or environment == Environment.DEMO,
            )
            for kind in (Kind.CASH, Kind.MARGIN)
        }
        for kind, amount in ((Kind.CASH, balance), (Kind.MARGIN, margin)):
            if amount:
                fund(opened[kind], amount)
        account = TradingAccount.objects.create(
            number=next_account_number(environment),
            owner=user,
            wallet_id=opened[Kind.MARGIN].id,
            environment=environment,
            currency=currency,
            leverage=leverage,
            jurisdiction=jurisdictions.jurisdiction_of(user.country),
        )
        token = issue_token(user, scopes=scopes)
    return CastMember(
        user=user,
        cash=Wallet.objects.get(pk=opened[Kind.CASH].id),
        margin=Wallet.objects.get(pk=opened[Kind.MARGIN].id),
        account=account,
        token=token,
        api=api_client(token),
    )


def fund(wallet: LockedWallet, amount: Decimal) -> None:
    """
    Post `amount` into a wallet that the caller's transaction has opened or locked.

    Not as a deposit: whatever is posted as one has a Deposit that says so, or the ledger's verification objects.
    """
    is_demo = wallet.environment == Environment.DEMO
    source = Kind.HOUSE_DEMO_FUNDING if is_demo else Kind.HOUSE_ADJUSTMENT
    reason = Reason.DEMO_FUNDING if is_demo else Reason.ADJUSTMENT
    ledger.post(
        [
            Leg(ledger.house(source, wallet.currency, wallet.environment), -amount, reason),
            Leg(wallet, amount, reason),
        ],
        type=Type.SIGN_UP if is_demo else Type.ADJUSTMENT,
        owner=wallet.owner,
        actor=Actor.system("cast"),
        now=timezone.now(),
        digest=system_digest("cast", str(uuid7())),
    )


def issue_token(
    user: User,
    *,
    scopes: Iterable[str] = CLIENT_SCOPES,
    addresses: tuple[str, ...] = (),
    lifetime: timedelta = timedelta(hours=24),
) -> str:
    """A new token of this user; the secret."""
    secret, now = credentials.Secret.mint(), timezone.now()
    with transaction.atomic():
        credentials.store_token(
            owner=user.pk,
            secret=secret,
            scopes=frozenset(scopes),
            name="cast",
            addresses=addresses,
            now=now,
            expires_at=now + lifetime,
        )
    return secret.text


def market_data_client() -> APIClient:
    """A price feed: a token with nothing but the right to push quotes."""
    feed = factories.Staff.create(email=f"feed-{uuid7()}@example.com", name="Price feed")
    return api_client(issue_token(feed, scopes=[ApiToken.Scope.MARKET_DATA]))


def api_client(token: str | None = None) -> APIClient:
    """A client of the REST API; with a token it sends it along."""
    client = APIClient()
    if token is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def next_account_number(environment: str) -> str:
    sequence = {Environment.DEMO: "accounts_number_demo_seq", Environment.LIVE: "accounts_number_live_seq"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [sequence[Environment(environment)]])
        (serial,) = cursor.fetchone() or (None,)
    return str(serial)
