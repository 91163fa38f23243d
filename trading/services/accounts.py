"""What an open position needs stays in the account; the rest may go to another wallet of its owner."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import TradingAccount
from core.audit import Actor
from core.db import retry_on_conflict
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.money import require_precision, show
from trading import engine, selectors
from trading.errors import DemoOnly, FreeMarginInsufficient, PositionsOpen, ReleaseTargetNotAllowed
from trading.market import Book, Market
from trading.watch import LockedAccount, touch
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Posting, Reason, Type, WalletNotFound
from wallets.models import Environment, Kind
from wallets.rules import CurrencyMismatch, EnvironmentMismatch, WithdrawalsFrozen, require_active

logger = structlog.get_logger(__name__)

RELEASE = Operation("RELEASE", effect_table="wallets_ledgertransaction")
DEMO_RESET = Operation("DEMO_RESET", effect_table="wallets_ledgertransaction")


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(RELEASE)
def release_funds(*, account: str, amount: Decimal, target: str, claim: Claim, actor: Actor) -> Answer:
    """
    Move money out of a trading account's wallet into another wallet of the same client, exactly once per claim.

    At most the free margin less the credit and less what working orders reserve, and never more than the balance: a
    floating profit cannot be paid out, and a bonus is not money. Open positions are valued at fresh prices only. Credit
    goes with the money in proportion, in the same posting. What stays covers the margin without any credit, so that
    taking a part of it away never leaves too little.

    :raises TradingAccountNotFound, WalletNotFound: if account or target do not exist for this client
    :raises PrecisionExceeded: if the amount has more decimals than the currency
    :raises ReleaseTargetNotAllowed, EnvironmentMismatch, CurrencyMismatch: if the wallets are one or may not meet
    :raises WalletNotActive, WithdrawalsFrozen: if money may not leave or arrive
    :raises QuoteStale, QuoteUnavailable, ConversionRateUnavailable: if open positions cannot be valued
    :raises FreeMarginInsufficient: with required, available and shortfall
    """
    assert amount > 0, "serializers refuse amounts that are not positive"
    trading_account = selectors.trading_account(claim.owner, account)
    now = timezone.now()
    market = selectors.market(now)

    source_wallet, target_wallet = ledger.lock_wallets(trading_account.wallet.number, target)

    _require_releasable(trading_account, source_wallet, target_wallet, amount)
    book = selectors.book(trading_account.id)
    _require_free(trading_account, source_wallet, amount, book, market)

    lost = ledger.credit_lost(source_wallet, amount)
    legs = [Leg(source_wallet, -amount, Reason.TRANSFER), Leg(target_wallet, amount, Reason.TRANSFER)]
    receipt = partial(
        _receipt, account=trading_account, source=source_wallet, target=target_wallet, amount=amount, lost=lost
    )
    posted = ledger.post(
        legs + ledger.credit_legs(source_wallet, -lost),
        type=Type.TRANSFER,
        owner=claim.owner,
        actor=actor,
        now=now,
        claim=claim,
        answer=receipt,
        reference=f"trading account {account}",
    )
    touch(LockedAccount(trading_account, source_wallet, book, market), now=now)
    transaction.on_commit(
        partial(logger.info, "trading.funds.released", account=account, transaction_id=str(posted.id)), robust=True
    )
    assert posted.answer is not None
    return posted.answer


def _require_releasable(account: TradingAccount, source: LockedWallet, target: LockedWallet, amount: Decimal) -> None:
    if target.owner != account.owner_id:
        raise WalletNotFound(number=target.number)
    if target.id == source.id:
        raise ReleaseTargetNotAllowed
    require_precision(amount, source.currency)
    if source.environment != target.environment:
        raise EnvironmentMismatch(source_environment=source.environment)
    if source.currency != target.currency:
        raise CurrencyMismatch(source_currency=source.currency, target_currency=target.currency)
    require_active(source)
    require_active(target)
    if not source.withdrawals_enabled:
        raise WithdrawalsFrozen(number=source.number)


def _require_free(account: TradingAccount, wallet: LockedWallet, amount: Decimal, book: Book, market: Market) -> None:
    for symbol in sorted({position.symbol for position in book.positions}):
        market.fresh(symbol)
    state = engine.account_state(wallet, book.positions, market)
    available = max(min(wallet.balance, state.free_margin - book.reserved - wallet.credit), Decimal(0))
    if amount > available:
        raise FreeMarginInsufficient(
            number=account.number,
            required=show(amount, wallet.currency),
            available=show(available, wallet.currency),
            shortfall=show(amount - available, wallet.currency),
            currency=wallet.currency,
        )


def _receipt(
    posting: Posting,
    *,
    account: TradingAccount,
    source: LockedWallet,
    target: LockedWallet,
    amount: Decimal,
    lost: Decimal,
) -> Answer:
    currency = source.currency
    return Answer.of(
        {
            "id": posting.id,
            "transaction": posting.id,
            "account": account.number,
            "source": source.number,
            "target": target.number,
            "amount": show(amount, currency),
            "currency": currency,
            "status": "COMPLETED",
            "credit_removed": show(lost, currency),
            "balance": show(posting.balances[source.id], currency),
            "target_balance": show(posting.balances[target.id], currency),
            "created_at": posting.posted_at,
        }
    )


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(DEMO_RESET)
def reset_demo(*, account: str, claim: Claim, actor: Actor) -> Answer:
    """
    Bring a demo account back to the virtual money it started with, by a posting like any other.

    :raises TradingAccountNotFound: if it does not exist or belongs to somebody else
    :raises DemoOnly: if the account holds real money
    :raises PositionsOpen: while anything is open
    """
    trading_account = selectors.trading_account(claim.owner, account)

    (wallet,) = ledger.lock_wallets_by_id(trading_account.wallet_id)

    if wallet.environment != Environment.DEMO:
        raise DemoOnly(number=account)
    book = selectors.book(trading_account.id)
    if count := len(book.positions) + len(book.orders):
        raise PositionsOpen(number=account, count=count)
    change = settings.DEMO_FUNDING - wallet.balance
    receipt = partial(_reset_receipt, account=trading_account, wallet=wallet)
    if not change:
        return receipt(None)
    house = ledger.house(Kind.HOUSE_DEMO_FUNDING, wallet.currency, wallet.environment)
    posted = ledger.post(
        [Leg(wallet, change, Reason.DEMO_FUNDING), Leg(house, -change, Reason.DEMO_FUNDING)],
        type=Type.ADJUSTMENT,
        owner=claim.owner,
        actor=actor,
        now=timezone.now(),
        claim=claim,
        answer=receipt,
        reason="Demo account reset by its owner",
    )
    transaction.on_commit(
        partial(logger.info, "trading.demo.reset", account=account, transaction_id=str(posted.id)), robust=True
    )
    assert posted.answer is not None
    return posted.answer


def _reset_receipt(posting: Posting | None, *, account: TradingAccount, wallet: LockedWallet) -> Answer:
    balance = posting.balances[wallet.id] if posting else wallet.balance
    return Answer.of(
        {
            "account": account.number,
            "balance": show(balance, wallet.currency),
            "currency": wallet.currency,
            "transaction": posting.id if posting else None,
        }
    )
