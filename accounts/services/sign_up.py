"""A newcomer leaves sign-up with everything they need to begin, or with nothing at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import gates, jurisdictions, mail, rules, selectors
from accounts.credentials import PasswordHash
from accounts.models import TradingAccount, User, Verification
from core import audit, db
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError, Unavailable
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import derived_uuid7
from core.money import book
from wallets import ledger
from wallets import selectors as wallet_selectors
from wallets.bank import BankDetails, number_hash, store_bank_account, validate_bank_details
from wallets.ledger import Leg, LockedWallet, Posting, Reason, Type
from wallets.models import BankAccount, Environment, Kind, Wallet

logger = structlog.get_logger(__name__)

#: What stands for ever is the email address, not the key: once an answer is purged, the same request is EMAIL_TAKEN.
SIGN_UP_DEMO = Operation("SIGN_UP_DEMO", effect_table=None)
SIGN_UP_LIVE = Operation("SIGN_UP_LIVE", effect_table=None)

#: 34 thousand million codes: a second collision in a row means that something else is wrong.
REFERRAL_CODE_ATTEMPTS_MAX = 5

_NUMBER_SQL = {
    Environment.DEMO: "SELECT nextval('accounts_number_demo_seq')",
    Environment.LIVE: "SELECT nextval('accounts_number_live_seq')",
}


class EmailTaken(DomainError):
    code = "EMAIL_TAKEN"
    message = "There is an account with this email address; log in, or set a new password."
    status = 409


class PhoneTaken(DomainError):
    code = "PHONE_TAKEN"
    message = "There is an account with this phone number."
    status = 409


class LiveAccountExists(DomainError):
    code = "LIVE_ACCOUNT_EXISTS"
    message = "This person has a live account."
    status = 409


class NotYourEmail(DomainError):
    code = "NOT_YOUR_EMAIL"
    message = "You are signed in with another email address; log out to sign up somebody else."
    status = 409


class AttributionFixed(DomainError):
    code = "ATTRIBUTION_FIXED"
    message = "Who referred you was settled when you first signed up."


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Who signs up; `email` in lower case, `phone` in E.164, `country` in ISO 3166."""

    email: str
    name: str
    phone: str
    country: str
    referral_code: str = ""


@dataclass(frozen=True, slots=True)
class LiveDetails:
    """What a live account takes besides: who the law says they are, where they live, where their money goes."""

    date_of_birth: date
    address: dict[str, str]
    holder: str
    bank_name: str
    branch: str
    code_type: str
    code: str
    number: str = field(repr=False)

    def bank(self) -> dict[str, str]:
        return {
            "holder": self.holder,
            "bank_name": self.bank_name,
            "branch": self.branch,
            "code_type": self.code_type,
            "code": self.code,
            "number": self.number,
        }


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """The trading account asked for."""

    currency: str
    leverage: int


def newcomer_id(email: str) -> UUID:
    """Who owns the idempotency key of a person that does not exist yet: their email address, in lower case."""
    return derived_uuid7("sign-up", email)


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(SIGN_UP_DEMO)
def sign_up_demo(
    *, person: NewPerson, password: PasswordHash, account: AccountTerms, claim: Claim, actor: Actor
) -> Answer:
    """
    Make a person with a demo account to trade through, funded with `settings.DEMO_FUNDING` by a real posting.

    A referral code is kept as typed, and whoever gave it out referred this person for good.

    :raises ReferralCodeInvalid: if nobody gave out that code; not final, so that it can be corrected under the same key
    :raises SelfReferral: if it is their own, as far as phone and mailbox tell
    :raises EmailTaken, PhoneTaken: if somebody has them; not final, because only the insert knows for sure
    """
    assert claim.owner == newcomer_id(person.email), "the key belongs to the email address"
    now = timezone.now()
    user = _enrol(person, password, referred_by=_referrer_of(person), now=now)
    actor = replace(actor, id=user.pk)
    wallet = _open(user.pk, Environment.DEMO, Kind.MARGIN, account.currency, verified=True)
    opened = _open_account(user, wallet, account, now=now)
    _record(user, opened, actor=actor)

    funding = book(settings.DEMO_FUNDING, account.currency)
    house = ledger.house(Kind.HOUSE_DEMO_FUNDING, account.currency, Environment.DEMO)
    posted = ledger.post(
        [Leg(house, -funding, Reason.DEMO_FUNDING), Leg(wallet, funding, Reason.DEMO_FUNDING)],
        type=Type.SIGN_UP,
        owner=user.pk,
        actor=actor,
        now=now,
        claim=claim,
        answer=partial(_welcome_to_demo, user=user, account=opened, wallet=wallet),
    )
    mail.confirm_address_on_commit(user)
    _log_on_commit("accounts.person.signed_up", user, opened)
    assert posted.answer is not None
    return posted.answer


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(SIGN_UP_LIVE)
def sign_up_live(
    *,
    person: NewPerson,
    details: LiveDetails,
    password: PasswordHash,
    account: AccountTerms,
    claim: Claim,
    actor: Actor,
) -> Answer:
    """
    Make a person with a live account: cash and margin wallet, trading account, bank account, verification PENDING.

    :raises UnderAge: if they are not of age
    :raises BankDetailsInvalid: if the bank details cannot be right
    :raises ReferralCodeInvalid: if nobody gave out that code; not final, so that it can be corrected under the same key
    :raises SelfReferral: if it is their own, as far as phone, mailbox and bank account tell
    :raises EmailTaken, PhoneTaken: if somebody has them; not final, because only the insert knows for sure
    """
    assert claim.owner == newcomer_id(person.email), "the key belongs to the email address"
    now = timezone.now()
    rules.require_of_age(details.date_of_birth, today=now.date())
    bank = validate_bank_details(code_type=details.code_type, code=details.code, number=details.number)
    user = _enrol(
        person,
        password,
        referred_by=_referrer_of(person, bank),
        now=now,
        date_of_birth=details.date_of_birth,
        address=details.address,
    )
    bank_account = store_bank_account(owner=user.pk, **details.bank())
    mail.confirm_address_on_commit(user)
    return _open_live(user, account, bank_account, (), actor=replace(actor, id=user.pk), now=now)


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(SIGN_UP_LIVE)
def open_live_account(
    *, person: NewPerson, details: LiveDetails, account: AccountTerms, claim: Claim, actor: Actor
) -> Answer:
    """
    Open a live account for the claim's owner, who has a demo account: the same person, with the same attribution.

    A bank account that is also their referrer's does not stop them: they may be married. It ends what is owed for
    referring them (`selectors.referral_chain`).

    Name, phone and country are taken from the form, since they are what compliance will check; email address,
    password and referral code stay what they are. What is frozen for this person is frozen on the new wallets too.

    :raises UnderAge: if they are not of age
    :raises AttributionFixed: if the form names a referral code other than the one they came with
    :raises NotYourEmail: if the form names another email address
    :raises LiveAccountExists: if they have a live account
    :raises PhoneTaken: if somebody else has the phone number
    :raises BankDetailsInvalid, BankAccountKnown, BankAccountsLimitReached: as for any bank account
    """
    now = timezone.now()
    rules.require_of_age(details.date_of_birth, today=now.date())
    gates.lock_wallets_of(claim.owner)
    user = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=claim.owner)
    _require_same_person(user, person)
    bank_account = store_bank_account(owner=user.pk, **details.bank())
    _complete(user, person, details, actor=actor, now=now)
    return _open_live(user, account, bank_account, selectors.scopes_frozen(user.pk), actor=actor, now=now)


def _require_same_person(user: User, person: NewPerson) -> None:
    if user.email != person.email:
        raise NotYourEmail
    if selectors.has_live_account(user.pk):
        raise LiveAccountExists
    if person.referral_code and not rules.is_same_code(person.referral_code, user.referral_code_entered):
        raise AttributionFixed(errors=[_named("referral_code", AttributionFixed)])


def _complete(user: User, person: NewPerson, details: LiveDetails, *, actor: Actor, now: datetime) -> None:
    """Bring a demo user's own row to what the live form says, and their accounts under the rules of their country."""
    names = ("name", "phone", "country", "date_of_birth", "address")
    wanted = {name: value for name, value in (asdict(person) | asdict(details)).items() if name in names}
    before = {name: getattr(user, name) for name in names}
    for name, value in wanted.items():
        setattr(user, name, value)
    user.updated_at = now
    try:
        user.save(update_fields=[*names, "updated_at"])
    except IntegrityError as error:
        if db.constraint(error) == "user_phone":
            raise PhoneTaken(errors=[_named("phone", PhoneTaken)]) from error
        raise
    moved_to = jurisdictions.jurisdiction_of(user.country)
    TradingAccount.objects.filter(owner=user).exclude(jurisdiction=moved_to).update(
        jurisdiction=moved_to, updated_at=now
    )
    audit.record("accounts.person.completed", actor=actor, owner=user.pk, subject=user, before=before, after=wanted)


def _referrer_of(person: NewPerson, bank: BankDetails | None = None) -> UUID | None:
    """Who gave out the code they came with, if they came with one, and are somebody else."""
    if not person.referral_code:
        return None
    referrer = selectors.referrer(rules.read_referral_code(person.referral_code))
    if referrer is None:
        raise rules.ReferralCodeInvalid(errors=[_named("referral_code", rules.ReferralCodeInvalid)])
    is_the_same = person.phone == referrer.phone or rules.mailbox(person.email) == rules.mailbox(referrer.email)
    if bank is not None and not is_the_same:
        is_the_same = wallet_selectors.bank_accounts(referrer.pk).filter(number_hash=number_hash(bank)).exists()
    if is_the_same:
        raise rules.SelfReferral(errors=[_named("referral_code", rules.SelfReferral)])
    return referrer.pk


def _enrol(person: NewPerson, password: PasswordHash, *, referred_by: UUID | None, now: datetime, **facts: Any) -> User:
    """
    Insert the person under a referral code of their own.

    One INSERT leaves it to the database to say no, whoever else signs up at the same moment; only then is it asked
    what stood in the way.
    """
    for _ in range(REFERRAL_CODE_ATTEMPTS_MAX):
        user = User(
            email=person.email,
            password=password,
            name=person.name,
            phone=person.phone,
            country=person.country,
            referral_code=rules.new_referral_code(),
            referral_code_entered=person.referral_code,
            referred_by_id=referred_by,
            created_at=now,
            updated_at=now,
            **facts,
        )
        User.objects.bulk_create([user], ignore_conflicts=True)
        user.number = User.objects.filter(pk=user.pk).values_list("number", flat=True).first()
        if user.number is not None:
            return user
        if User.objects.with_email(person.email).exists():
            raise EmailTaken(errors=[_named("email", EmailTaken)])
        if User.objects.filter(phone=person.phone).exists():
            raise PhoneTaken(errors=[_named("phone", PhoneTaken)])
    raise Unavailable


def _named(name: str, error: type[DomainError]) -> dict[str, str]:
    return {"field": name, "code": error.code, "message": error.message}


def _open(owner: UUID, environment: Environment, kind: Kind, currency: str, *, verified: bool) -> LockedWallet:
    return ledger.open_wallet(owner=owner, environment=environment, kind=kind, currency=currency, verified=verified)


def _open_account(user: User, wallet: LockedWallet, terms: AccountTerms, *, now: datetime) -> TradingAccount:
    (serial,) = db.fetch_all(_NUMBER_SQL[Environment(wallet.environment)], {})[0]
    return TradingAccount.objects.create(
        number=str(serial),
        owner=user,
        wallet_id=wallet.id,
        environment=wallet.environment,
        currency=terms.currency,
        leverage=terms.leverage,
        jurisdiction=jurisdictions.jurisdiction_of(user.country),
        created_at=now,
        updated_at=now,
    )


def _open_live(
    user: User,
    terms: AccountTerms,
    bank_account: BankAccount,
    frozen: list[str] | tuple[str, ...],
    *,
    actor: Actor,
    now: datetime,
) -> Answer:
    cash, margin = (
        _open(user.pk, Environment.LIVE, kind, terms.currency, verified=False) for kind in (Kind.CASH, Kind.MARGIN)
    )
    gates.close_gates((cash, margin), frozen)
    account = _open_account(user, margin, terms, now=now)
    verification = Verification.objects.create(owner=user, created_at=now)
    _record(user, account, actor=actor)
    _log_on_commit("accounts.person.went_live", user, account)
    document = _welcome(user, account, list(Wallet.objects.filter(pk__in=[cash.id, margin.id]).order_by("pk")))
    document["bank_account"] = wallet_selectors.bank_account_document(bank_account)
    document["verification"] = selectors.verification_document(verification)
    return Answer.of(document, effect_id=account.pk)


def _welcome_to_demo(posting: Posting, *, user: User, account: TradingAccount, wallet: LockedWallet) -> Answer:
    row = Wallet.objects.get(pk=wallet.id)
    row.balance = posting.balances[wallet.id]
    return Answer.of(_welcome(user, account, [row]))


def _welcome(user: User, account: TradingAccount, wallets: list[Wallet]) -> dict[str, Any]:
    """What a newcomer is told; stored under their key, so there is no secret in it."""
    numbers = {wallet.pk: wallet.number for wallet in wallets}
    return {
        "user": selectors.person_document(user),
        "trading_account": selectors.trading_account_document(account, wallet=numbers[account.wallet_id]),
        "wallets": [wallet_selectors.wallet_document(wallet) for wallet in wallets],
        "referral_code": user.referral_code,
    }


def _record(user: User, account: TradingAccount, *, actor: Actor) -> None:
    after = {
        "number": account.number,
        "environment": account.environment,
        "currency": account.currency,
        "leverage": account.leverage,
        "jurisdiction": account.jurisdiction,
        "referred_by": user.referred_by_id,
    }
    audit.record("accounts.trading_account.opened", actor=actor, owner=user.pk, subject=account, after=after)


def _log_on_commit(event: str, user: User, account: TradingAccount) -> None:
    transaction.on_commit(
        partial(logger.info, event, user_id=str(user.pk), trading_account=account.number), robust=True
    )
