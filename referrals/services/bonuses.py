"""
A newcomer gets a bonus once, as credit: margin to trade with, and never money.

* Once is once for a human being, however many accounts they open: by name and date of birth, phone, mailbox and bank
  account, each kept as a keyed hash that is unique over all clients.
* Trading may lose it, and nobody can take it out: what leaves the account takes a share of it along
  (`ledger.credit_lost`), and where the house has paid a loss, the rest of it goes too.
* What is left when it expires is taken back in a posting of its own. That can bring an account with open positions
  below its margin call, as any loss can: the client has known the day since it was given.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import jurisdictions
from accounts import rules as people_rules
from accounts import selectors as people
from accounts.models import TradingAccount, User
from core import audit
from core.audit import Actor
from core.db import constraint, retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once, system_digest
from core.ids import HOUSE, frame, uuid7
from core.money import CURRENCIES, book, show
from referrals import selectors
from referrals.models import BonusIdentity, BonusPolicy, SignupBonus
from trading import selectors as trading_selectors
from trading.watch import LockedAccount, touch
from wallets import ledger
from wallets import selectors as wallet_selectors
from wallets.ledger import LockedWallet, Posting, Type
from wallets.models import Environment
from wallets.rules import VerificationRequired, require_active

logger = structlog.get_logger(__name__)

CLAIM_BONUS = Operation("CLAIM_BONUS", effect_table="referrals_signupbonus")

ACTOR = Actor.system("expire_bonuses")

Kind = BonusIdentity.Kind
Status = SignupBonus.Status

#: What a policy is, besides its version and when it begins.
TERMS = ("is_offered", "amount", "deposit_min", "days_valid", "jurisdictions_barred", "countries_barred")


class BonusNotOffered(DomainError):
    code = "BONUS_NOT_OFFERED"
    message = "There is no sign-up bonus for {environment} accounts in {currency} right now."


class BonusBarred(DomainError):
    code = "BONUS_BARRED"
    message = "Where you live, nobody may be rewarded for opening an account."


class BonusDepositMissing(DomainError):
    code = "BONUS_DEPOSIT_MISSING"
    message = "The bonus needs {required} {currency} that were deposited and are in the account; {available} are."


class BonusClaimed(DomainError):
    """Not final: where another claim is being carried out at the same moment, only the insert knows for sure."""

    code = "BONUS_CLAIMED"
    message = "Everybody gets one sign-up bonus, and you have had yours."
    status = 409


class BonusPolicyMalformed(DomainError):
    code = "BONUS_POLICY_MALFORMED"
    message = "Bonus policy {policy} cannot be one: {flaw}."
    status = 400


class BonusPolicyChanged(DomainError):
    code = "BONUS_POLICY_CHANGED"
    message = "Bonus policy {policy} is known with other terms ({differs}); give other terms a new version."
    status = 409


# --- Given ----------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(CLAIM_BONUS)
def claim_bonus(*, account: str, claim: Claim, actor: Actor) -> Answer:
    """
    Give a client's live trading account the sign-up bonus of its currency, as credit, once in their life.

    :raises TradingAccountNotFound: if the account does not exist or belongs to somebody else
    :raises WalletNotActive: if it is frozen or closed
    :raises BonusNotOffered: if the policy in force has none for it
    :raises BonusBarred: where the account's jurisdiction, or the client's country, bars incentives
    :raises VerificationRequired: until the client's verification is approved
    :raises BonusClaimed: if they had one, under whatever name; not final, because only the insert knows for sure
    :raises BonusDepositMissing: with required, available and shortfall, if too little was deposited or is left of it
    """
    trading_account = trading_selectors.trading_account(claim.owner, account)
    now = timezone.now()
    market = trading_selectors.market(now)

    (wallet,) = ledger.lock_wallets_by_id(trading_account.wallet_id)

    require_active(wallet)
    client = people.person(claim.owner)
    policy = _require_offer(trading_account, wallet, client, now)
    digests = dict(_identities(client))
    if selectors.bonuses(claim.owner).exists() or selectors.is_known(digests):
        raise BonusClaimed
    _require_deposit(wallet, policy)

    bonus = SignupBonus(
        id=uuid7(),
        owner=client,
        account=trading_account,
        policy=policy,
        amount=policy.amount,
        currency=policy.currency,
        idempotency_digest=claim.digest,
        granted_at=now,
        expires_at=now + timedelta(days=policy.days_valid),
    )
    _remember(bonus, digests)
    posted = ledger.post(
        ledger.credit_legs(wallet, bonus.amount),
        type=Type.BONUS,
        owner=claim.owner,
        actor=actor,
        now=now,
        claim=claim,
        answer=partial(_receipt, bonus=bonus, account=trading_account, wallet=wallet),
        reference=f"bonus {bonus.id}",
    )
    bonus.transaction_id = posted.id
    bonus.save(force_insert=True)
    touch(LockedAccount(trading_account, wallet, trading_selectors.book(trading_account.id), market), now=now)
    transaction.on_commit(partial(logger.info, "referrals.bonus.granted", bonus_id=str(bonus.id)), robust=True)
    assert posted.answer is not None
    return posted.answer


def _require_offer(account: TradingAccount, wallet: LockedWallet, client: User, now: datetime) -> BonusPolicy:
    policy = selectors.bonus_policy(wallet.currency, now)
    if policy is None or not policy.is_offered or wallet.environment != Environment.LIVE:
        raise BonusNotOffered(environment=wallet.environment, currency=wallet.currency)
    lives_under = {account.jurisdiction, jurisdictions.jurisdiction_of(client.country)}
    if lives_under & set(policy.jurisdictions_barred) or client.country in policy.countries_barred:
        raise BonusBarred
    if not wallet.verified:
        raise VerificationRequired
    return policy


def _require_deposit(wallet: LockedWallet, policy: BonusPolicy) -> None:
    """What came in once and has left again is no deposit: it has to be in the account, where taking it out costs."""
    available = min(wallet_selectors.deposited(wallet.owner, wallet.currency), wallet.balance)
    if available < policy.deposit_min:
        raise BonusDepositMissing(
            required=show(policy.deposit_min, policy.currency),
            available=show(max(available, Decimal(0)), policy.currency),
            shortfall=show(policy.deposit_min - max(available, Decimal(0)), policy.currency),
            currency=policy.currency,
        )


def _identities(client: User) -> Iterator[tuple[bytes, str]]:
    """Everything by which this person would be recognised, as keyed hashes."""
    if client.date_of_birth is not None:
        name = " ".join(unicodedata.normalize("NFKC", client.name).casefold().split())
        yield _digest(Kind.PERSON, name, client.date_of_birth.isoformat(), client.country), Kind.PERSON
    if client.phone is not None:
        yield _digest(Kind.PHONE, client.phone), Kind.PHONE
    yield _digest(Kind.MAILBOX, people_rules.mailbox(client.email)), Kind.MAILBOX
    for number_hash in wallet_selectors.bank_accounts(client.pk).values_list("number_hash", flat=True):
        yield _digest(Kind.BANK_ACCOUNT, bytes(number_hash).hex()), Kind.BANK_ACCOUNT


def _digest(kind: Kind, *parts: str) -> bytes:
    return hmac.new(settings.FIELD_HASH_KEY.encode(), frame("bonus-identity", kind, *parts), sha256).digest()


def _remember(bonus: SignupBonus, digests: dict[bytes, str]) -> None:
    """
    Put down who this is, in one order for everybody, so that two claims of one human being cannot lock each other out.

    :raises BonusClaimed: if somebody with one of these is getting a bonus at this very moment
    """
    rows = [
        BonusIdentity(owner_id=bonus.owner_id, bonus=bonus, kind=kind, digest=digest)
        for digest, kind in sorted(digests.items())
    ]
    BonusIdentity.objects.bulk_create(rows, ignore_conflicts=True)
    if BonusIdentity.objects.filter(bonus_id=bonus.id).count() != len(rows):
        raise BonusClaimed


def _receipt(posting: Posting, *, bonus: SignupBonus, account: TradingAccount, wallet: LockedWallet) -> Answer:
    bonus.transaction_id = posting.id
    document = selectors.bonus_document(bonus, account=account.number, remaining=bonus.amount)
    return Answer.of(
        document | {"credit": show(wallet.credit + bonus.amount, bonus.currency)},
        effect_id=bonus.id,
    )


# --- Taken back -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expired:
    """What became of one bonus whose time is over."""

    currency: str
    removed: Decimal


@retry_on_conflict
@transaction.atomic(durable=True)
def expire_bonus(*, bonus_id: UUID, until: datetime) -> Expired | None:
    """
    Take back what is left of a bonus whose time was over at `until`; None if it is not, or if that was done before.

    Nothing stops it: no freeze, no kill switch, no open position. If the outcome of the commit is unknown, call again.
    """
    now = timezone.now()
    until = min(until, now)  # its time is over when it is over, whatever a clock said before
    found = SignupBonus.objects.select_related("account").get(pk=bonus_id)
    market = trading_selectors.market(now)

    (wallet,) = ledger.lock_wallets_by_id(found.account.wallet_id)
    bonus = SignupBonus.objects.select_for_update(no_key=True).order_by("pk").get(pk=bonus_id)
    if bonus.status != Status.ACTIVE or bonus.expires_at > until:
        return None

    left = min(bonus.amount, wallet.credit)
    if left:
        bonus.removal_id = ledger.post(
            ledger.credit_legs(wallet, -left),
            type=Type.BONUS,
            owner=wallet.owner,
            actor=ACTOR,
            now=now,
            digest=system_digest("bonus-expired", str(bonus.id)),
            reference=f"bonus {bonus.id}",
            reason="The bonus has expired",
        ).id
    bonus.status, bonus.removed, bonus.ended_at = Status.EXPIRED, left, now
    bonus.save(update_fields=["status", "removed", "removal", "ended_at"])
    if left:
        account = found.account
        touch(LockedAccount(account, wallet, trading_selectors.book(account.id), market), now=now)
    transaction.on_commit(partial(logger.info, "referrals.bonus.expired", bonus_id=str(bonus.id)), robust=True)
    return Expired(bonus.currency, left)


# --- On what terms --------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def load_policy(*, document: dict[str, Any], actor: Actor) -> bool:
    """
    Put a version of a policy in force, from the moment it names, if it is not known yet; False if it is known.

    :raises BonusPolicyMalformed: if the document is no policy
    :raises BonusPolicyChanged: if this version is known with other terms
    """
    policy = _read(document)
    known = BonusPolicy.objects.filter(currency=policy.currency, version=policy.version).first()
    if known is not None:
        differs = [name for name in (*TERMS, "valid_from") if getattr(known, name) != getattr(policy, name)]
        if differs:
            raise BonusPolicyChanged(policy=str(policy), differs=", ".join(differs))
        return False
    try:
        policy.save(force_insert=True)
    except IntegrityError as error:
        raise BonusPolicyMalformed(policy=str(policy), flaw=constraint(error)) from error
    after = {name: getattr(policy, name) for name in (*TERMS, "valid_from")}
    audit.record("referrals.bonus_policy.loaded", actor=actor, owner=HOUSE, subject=policy, after=after)
    transaction.on_commit(partial(logger.info, "referrals.bonus_policy.loaded", policy_id=str(policy.id)), robust=True)
    return True


def _read(document: dict[str, Any]) -> BonusPolicy:
    """The policy as the file spells it, in the types that its columns have."""
    named = f"{document.get('currency')} v{document.get('version')}"
    odd = document.keys() ^ {*TERMS, "currency", "version", "valid_from"}
    if odd:
        raise BonusPolicyMalformed(policy=named, flaw=f"{', '.join(sorted(odd))} missing or unknown")
    try:
        amounts = {name: Decimal(document[name]) for name in ("amount", "deposit_min")}
        policy = BonusPolicy(**document | amounts | {"valid_from": datetime.fromisoformat(document["valid_from"])})
        is_right = (
            type(document["is_offered"]) is bool
            and all(type(document[name]) is int for name in ("version", "days_valid"))
            and policy.currency in CURRENCIES
            and all(amount == book(amount, policy.currency) for amount in amounts.values())
            and policy.valid_from.tzinfo is not None
            and set(policy.jurisdictions_barred) <= jurisdictions.regulated() | {jurisdictions.DESK}
            and set(policy.countries_barred) <= people_rules.COUNTRIES
        )
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise BonusPolicyMalformed(policy=named, flaw=f"{type(error).__name__} {error}") from error
    if not is_right:
        raise BonusPolicyMalformed(policy=named, flaw="a term is not what it should be")
    return policy
