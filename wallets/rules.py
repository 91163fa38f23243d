"""What must hold before a wallet is touched, read off the row that is locked."""

from __future__ import annotations

from decimal import Decimal

from core.errors import DomainError
from core.money import show
from wallets.ledger import LockedWallet
from wallets.models import Kind, Wallet

#: Kill switches that gate money, as `KillSwitch.scope` spells them.
WITHDRAWALS_SWITCH = "WITHDRAWALS"

REASON_CHARACTERS_MAX = 500


class WalletNotActive(DomainError):
    code = "WALLET_NOT_ACTIVE"
    message = "Wallet {number} is {status}; only an active wallet can be used."


class DepositsFrozen(DomainError):
    code = "DEPOSITS_FROZEN"
    message = "Deposits into wallet {number} are stopped; contact support."


class WithdrawalsFrozen(DomainError):
    code = "WITHDRAWALS_FROZEN"
    message = "Money cannot leave wallet {number} right now; contact support."


class WithdrawalsHalted(DomainError):
    code = "WITHDRAWALS_HALTED"
    message = "Withdrawals are stopped for everyone right now; try again later with a new Idempotency-Key."


class VerificationRequired(DomainError):
    code = "VERIFICATION_REQUIRED"
    message = "This needs an approved verification; submit your documents first."


class InsufficientFunds(DomainError):
    code = "INSUFFICIENT_FUNDS"
    message = "{required} {currency} is needed and {available} {currency} is available."


class CurrencyMismatch(DomainError):
    code = "CURRENCY_MISMATCH"
    message = "The wallets hold {source_currency} and {target_currency}; both must hold the same currency."


class EnvironmentMismatch(DomainError):
    code = "ENVIRONMENT_MISMATCH"
    message = "Demo money and live money never meet; both wallets must be {source_environment}."


class MarginSourceRefused(DomainError):
    code = "MARGIN_SOURCE_REFUSED"
    message = (
        "Wallet {number} carries open risk; take money out of it with POST /api/v1/trading-accounts/{{number}}/release."
    )


class ReasonRequired(DomainError):
    code = "REASON_REQUIRED"
    message = "Say why, in at most {max} characters; it stays on record."
    status = 400


class ApprovalOfOneself(DomainError):
    code = "APPROVAL_OF_ONESELF"
    message = "Nobody decides about their own money; somebody else has to."


class ProposerDecides(DomainError):
    code = "PROPOSER_DECIDES"
    message = "Whoever proposed a change does not decide about it; somebody else has to."


def require_reason(reason: str) -> None:
    """:raises ReasonRequired: if a member of staff gives no reason, or one that does not fit"""
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise ReasonRequired(max=REASON_CHARACTERS_MAX)


def require_active(wallet: LockedWallet) -> None:
    """:raises WalletNotActive: if the wallet is frozen or closed"""
    if wallet.status != Wallet.Status.ACTIVE:
        raise WalletNotActive(number=wallet.number, status=wallet.status)


def require_money_may_leave(wallet: LockedWallet) -> None:
    """
    Refuse whatever takes money away from its owner while it is stopped or unproven.

    :raises WalletNotActive: if the wallet is frozen or closed
    :raises WithdrawalsFrozen: if compliance has stopped this wallet's outflow
    :raises VerificationRequired: if a live owner is not yet approved
    """
    require_active(wallet)
    if not wallet.withdrawals_enabled:
        raise WithdrawalsFrozen(number=wallet.number)
    if not wallet.verified:
        raise VerificationRequired


def require_withdrawals_running(wallet: LockedWallet) -> None:
    """:raises WithdrawalsHalted: while staff have thrown the switch that stops withdrawals for everyone"""
    if WITHDRAWALS_SWITCH in wallet.kill_switches:
        raise WithdrawalsHalted


def require_available(wallet: LockedWallet, amount: Decimal) -> None:
    """:raises InsufficientFunds: with required, available and shortfall, if the wallet cannot pay the amount"""
    assert wallet.kind == Kind.CASH, "what a margin wallet can pay out depends on its open positions"
    if wallet.available < amount:
        raise InsufficientFunds(
            required=show(amount, wallet.currency),
            available=show(wallet.available, wallet.currency),
            shortfall=show(amount - wallet.available, wallet.currency),
            currency=wallet.currency,
        )
