"""People to try the desk with: one member of staff per role, and four clients at different stages of becoming one."""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import credentials, rules, selectors
from accounts.models import TradingAccount, User, Verification
from accounts.services import passwords, sessions, sign_up, staff, verifications
from core.audit import Actor, ActorKind
from core.commands import DeskCommand
from core.idempotency import Claim, Operation
from wallets import selectors as wallet_selectors
from wallets.models import Deposit, Kind, Wallet
from wallets.services import deposits, transfers

TOKEN_LIFETIME = timedelta(days=30)
DEPOSIT = Decimal("10000.00")
TO_MARGIN = Decimal("4000.00")
STAFF_NAMES = {
    "support": "Sam Support",
    "kyc": "Kim Kyc",
    "finance": "Fay Finance",
    "dealing": "Deniz Dealing",
    "auditor": "Ari Auditor",
    "admin": "Ada Admin",
}


@dataclass(frozen=True, slots=True)
class Role:
    """One client of the cast and how far they have come."""

    name: str
    phone: str
    country: str
    iban: str | None = None  # None: a demo client, who tells no bank
    is_funded: bool = False

    @property
    def email(self) -> str:
        return f"{self.name.split()[0].lower()}@example.com"


CLIENTS = (
    Role("Alice Archer", "+442079460101", "GB", "GB33BUKB20201555555555", is_funded=True),
    Role("Bob Bennett", "+4930901820102", "DE", "DE89370400440532013000", is_funded=True),
    Role("Carol Cheng", "+442079460103", "GB"),
    Role("Dave Dupont", "+33199000104", "FR", "FR1420041010050500013M02606"),
)

Known = dict[str, dict[str, str]]


class Command(DeskCommand):
    help = "Make the demo cast, or bring it up to date, and write how to log in as any of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--api-url", default="http://localhost:8000/api/v1")
        parser.add_argument("--admin-url", default="http://localhost:8000/admin")
        parser.add_argument("--docs-url", default="http://localhost:8000/api/docs")
        parser.add_argument("--output", default="var/demo.json", help="Where the log-ins go; readable by you alone.")

    def run(self, *, api_url: str, admin_url: str, docs_url: str, output: str, **_: Any) -> dict[str, Any]:
        path = Path(output)
        before = json.loads(path.read_text()) if path.exists() else {}
        with _no_letters():
            cast = Cast(before).assemble()
        _write(path, {"api_url": api_url, "admin_url": admin_url, "docs_url": docs_url, **cast})
        return {"staff": len(cast["staff"]), "clients": len(cast["clients"])}


class Cast:
    """Everybody, by the services that real people go through; whoever is there already keeps what they have."""

    actor: ClassVar[Actor] = Actor.system("demo_cast")

    def __init__(self, before: dict[str, Any]) -> None:
        self.known: Known = {entry["email"]: entry for entry in [*before.get("staff", ()), *before.get("clients", ())]}
        self.market_data_token = str(before.get("market_data_token", ""))

    def assemble(self) -> dict[str, Any]:
        staff.define_roles()
        members = {role: self.enlist(role) for role in rules.ROLES}
        staff_ids = {role: User.objects.with_email(member["email"]).get().pk for role, member in members.items()}
        clients = [self.welcome(role, staff_ids) for role in CLIENTS]
        feed = self.token_for(staff_ids["dealing"], self.market_data_token, sessions.MARKET_DATA_SCOPES)
        return {"staff": list(members.values()), "clients": clients, "market_data_token": feed}

    # --- Staff ------------------------------------------------------------------------------------------------------

    def enlist(self, role: str) -> dict[str, str]:
        email = f"{role}@desk.example"
        known = self.known.get(email, {})
        password = known.get("password") or secrets.token_urlsafe(12)
        totp_secret = known.get("totp_secret") or base64.b32encode(secrets.token_bytes(20)).decode()
        key = base64.b32decode(totp_secret)
        user = User.objects.with_email(email).first()
        has_all = (
            user is not None
            and check_password(password, user.password)
            and TOTPDevice.objects.filter(user=user, key=key.hex(), confirmed=True).exists()
            and user.groups.filter(name=role).exists()
        )
        if not has_all:
            staff.enlist_staff(
                email=email,
                name=STAFF_NAMES[role],
                role=role,
                password=credentials.hash_password(password, email=email),
                totp_key=key,
                actor=self.actor,
            )
        return {"role": role, "email": email, "password": password, "totp_secret": totp_secret}

    # --- Clients ----------------------------------------------------------------------------------------------------

    def welcome(self, role: Role, staff_ids: dict[str, UUID]) -> dict[str, Any]:
        known = self.known.get(role.email, {})
        password = known.get("password") or secrets.token_urlsafe(12)
        user = User.objects.with_email(role.email).first()
        if user is None:
            user = self.sign_up(role, password)
        elif not check_password(password, user.password):
            self.set_password(user, password)
        if user.email_confirmed_at is None:
            letter = credentials.email_confirmation.make_token(user)
            passwords.confirm_email(user_id=user.pk, token=letter, actor=self.actor)
        if role.is_funded:
            self.approve(user, staff_ids["kyc"])
            self.fund(user, staff_ids["finance"])
        return {
            "name": role.name,
            "email": role.email,
            "password": password,
            "token": self.token_for(user.pk, known.get("token", ""), sessions.CLIENT_SCOPES),
            "wallets": [_wallet(wallet) for wallet in wallet_selectors.wallets(user.pk).order_by("pk")],
            "trading_accounts": [_account(account) for account in selectors.trading_accounts(user.pk)],
        }

    def sign_up(self, role: Role, password: str) -> User:
        person = sign_up.NewPerson(role.email, role.name, role.phone, role.country)
        account = sign_up.AccountTerms("USD", settings.LEVERAGE_DEFAULT)
        hashed = credentials.hash_password(password, email=role.email, name=role.name)
        owner = sign_up.newcomer_id(role.email)
        newcomer = Actor(owner, ActorKind.CLIENT, self.actor.request_id)
        if role.iban is None:
            claim = _claim(sign_up.SIGN_UP_DEMO, owner, role)
            sign_up.sign_up_demo(person=person, password=hashed, account=account, claim=claim, actor=newcomer)
        else:
            sign_up.sign_up_live(
                person=person,
                details=_details(role, role.iban),
                password=hashed,
                account=account,
                claim=_claim(sign_up.SIGN_UP_LIVE, owner, role),
                actor=newcomer,
            )
        return User.objects.with_email(role.email).get()

    def set_password(self, user: User, password: str) -> None:
        """The file with the old one is lost."""
        passwords.reset_password(
            user_id=user.pk,
            token=credentials.password_reset.make_token(user),
            password=credentials.hash_password(password, email=user.email, name=user.name),
            actor=self.actor,
        )

    def approve(self, user: User, reviewer: UUID) -> None:
        verification = selectors.verification(user.pk)
        assert verification is not None, "live sign-up opens one"
        if verification.status == Verification.Status.PENDING:
            client = Actor(user.pk, ActorKind.CLIENT, self.actor.request_id)
            documents = [{"kind": "PASSPORT", "reference": "demo-passport"}]
            verification = verifications.submit_verification(owner=user.pk, documents=documents, actor=client)
        kyc = Actor(reviewer, ActorKind.STAFF, self.actor.request_id)
        path = {
            Verification.Status.SUBMITTED: Verification.Status.IN_REVIEW,
            Verification.Status.IN_REVIEW: Verification.Status.APPROVED,
        }
        while verification.status in path:
            verification = verifications.review_verification(
                verification_id=verification.pk,
                outcome=path[Verification.Status(verification.status)],
                reason="Demo cast",
                actor=kyc,
            )

    def fund(self, user: User, cashier: UUID) -> None:
        """Money by a deposit, some of it moved to trade with; once, however often the cast is assembled."""
        if Deposit.objects.filter(owner=user).exists():
            return
        live = wallet_selectors.wallets(user.pk).filter(environment="LIVE")
        cash, margin = live.get(kind=Kind.CASH), live.get(kind=Kind.MARGIN)
        client = Actor(user.pk, ActorKind.CLIENT, self.actor.request_id)
        claim = _claim(deposits.CREATE_DEPOSIT, user.pk, cash.number)
        answer = deposits.create_deposit(wallet=cash.number, amount=DEPOSIT, claim=claim, actor=client)
        if answer.document["status"] != Deposit.Status.COMPLETED and settings.PAYMENT_PROVIDER == "manual":
            finance = Actor(cashier, ActorKind.STAFF, self.actor.request_id)
            deposits.approve_deposit(deposit_id=UUID(answer.document["id"]), reason="Demo cast", actor=finance)
        cash.refresh_from_db()
        if cash.balance >= TO_MARGIN:
            claim = _claim(transfers.TRANSFER, user.pk, cash.number)
            transfers.transfer_funds(
                source=cash.number, target=margin.number, amount=TO_MARGIN, claim=claim, actor=client
            )

    # --- Tokens -----------------------------------------------------------------------------------------------------

    def token_for(self, owner: UUID, secret: str, scopes: frozenset[str]) -> str:
        """The token that the file names if it still works for a day, else a new one."""
        now = timezone.now()
        known = credentials.find_token(secret) if secret else None
        if known is not None and known.owner == owner and known.scopes == scopes and known.revoked_at is None:
            idle_until = known.last_used_at + settings.TOKEN_IDLE_LIFETIME
            if known.expires_at > now + timedelta(days=1) and idle_until > now:
                credentials.touch_token(known, now=now)
                return secret
            sessions.revoke_token(owner=owner, token_id=known.id, actor=self.actor)
        issued = sessions.create_token(
            owner=owner, held=scopes, scopes=scopes, name="demo cast", lifetime=TOKEN_LIFETIME, actor=self.actor
        )
        return issued.secret.text


def _details(role: Role, iban: str) -> sign_up.LiveDetails:
    address = {"line1": "1 Demo Street", "line2": "", "city": "Demo", "region": "", "postal_code": "10001"}
    return sign_up.LiveDetails(
        date_of_birth=date(1990, 5, 17),
        address={**address, "country": role.country},
        holder=role.name,
        bank_name="Demo Bank",
        branch="",
        code_type="IBAN",
        code="",
        number=iban,
    )


def _claim(operation: Operation, owner: UUID, subject: object) -> Claim:
    return Claim.make(
        operation=operation,
        owner=owner,
        key=f"demo-cast-{operation.name}",
        request={"subject": str(subject)},
        request_id="demo_cast",
    )


def _wallet(wallet: Wallet) -> dict[str, str]:
    shown = wallet_selectors.wallet_document(wallet)
    return {name: shown[name] for name in ("number", "kind", "environment", "currency", "balance")}


def _account(account: TradingAccount) -> dict[str, Any]:
    return {
        "number": account.number,
        "environment": account.environment,
        "currency": account.currency,
        "leverage": account.leverage,
        "wallet": account.wallet.number,
    }


@contextmanager
def _no_letters() -> Iterator[None]:
    """Nobody reads these mailboxes, and a console full of letters hides what `make run` has to say."""
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    try:
        yield
    finally:
        settings.EMAIL_BACKEND = backend


def _write(path: Path, cast: dict[str, Any]) -> None:
    """Replace the file in one step; from its first byte on, only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(cast, file, indent=2)
            file.write("\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
