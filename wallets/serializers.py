"""What clients may ask of their money, field by field, and what the answers are made of."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from core.api import (
    AmountField,
    DecimalText,
    SecretField,
    StrictBooleanField,
    StrictChoiceField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictUUIDField,
    Terms,
    TextField,
)
from core.money import CURRENCIES
from wallets import bank, selectors
from wallets.models import (
    GATED_KINDS,
    BankAccount,
    Deposit,
    Entry,
    Environment,
    LedgerTransaction,
    Transfer,
    Wallet,
    Withdrawal,
)

#: Any name a wallet could have; whether there is such a wallet, and whose it is, is the service's question.
WALLET_NUMBER = "[A-Z0-9-]+"

# --- In -------------------------------------------------------------------------------------------------------------


class TransferTerms(Terms):
    """Wallet numbers, and an amount in their currency."""

    source = TextField(max_length=40, pattern=WALLET_NUMBER)  # type: ignore[assignment]  # a field, not Field.source
    target = TextField(max_length=40, pattern=WALLET_NUMBER)
    amount = AmountField()


class DepositTerms(Terms):
    """A wallet's number, and an amount in its currency."""

    wallet = TextField(max_length=40, pattern=WALLET_NUMBER)
    amount = AmountField()


class WithdrawalTerms(Terms):
    """A cash wallet's number, an amount in its currency, and an own bank account unless it is the default one."""

    wallet = TextField(max_length=40, pattern=WALLET_NUMBER)
    amount = AmountField()
    bank_account = StrictUUIDField(required=False)


class BankAccountTerms(Terms):
    """
    Where withdrawals go. The number is an IBAN, or an account number whose bank `code` names.

    Blanks and hyphens in code and number are accepted and dropped.
    """

    holder = TextField(max_length=140)
    bank_name = TextField(max_length=140)
    branch = TextField(max_length=140, allow_blank=True, default="")
    code_type = StrictChoiceField(BankAccount.Scheme)
    code = TextField(max_length=34, allow_blank=True, default="")
    number = SecretField(max_length=64)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values = super().to_internal_value(data)
        details = bank.validate_bank_details(
            code_type=values["code_type"], code=values["code"], number=values["number"]
        )
        return {**values, "code": details.code, "number": details.number}


class PaymentReport(Terms):
    """A provider's word on one deposit: what was paid, and under which reference of theirs."""

    deposit = StrictUUIDField()
    reference = TextField(max_length=128)
    status = StrictChoiceField(["COMPLETED", "FAILED"])
    amount = AmountField()
    currency = StrictChoiceField(list(CURRENCIES))


# --- Out ------------------------------------------------------------------------------------------------------------
# The spelling is `selectors.…_document`, which services store as their answers; the fields tell it to the API document,
# and a test holds the two together.


class MoneyText(DecimalText):
    """An amount with exactly its currency's decimals; what was lost or taken out is negative."""

    spelling = re.compile(r"\A-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?\Z", re.ASCII)


class WalletSummary(serializers.Serializer[Any]):
    """A wallet; `available` is its balance less what is held."""

    number = TextField(max_length=40)
    kind = StrictChoiceField([str(kind) for kind in GATED_KINDS])
    environment = StrictChoiceField(Environment)
    currency = StrictChoiceField(list(CURRENCIES))
    balance = MoneyText()
    held = MoneyText()
    available = MoneyText()
    credit = MoneyText()
    realized_profit = MoneyText()
    status = StrictChoiceField(Wallet.Status)
    created_at = StrictDateTimeField()

    def to_representation(self, instance: Wallet) -> dict[str, Any]:
        return selectors.wallet_document(instance)


class StatementLine(serializers.Serializer[Any]):
    """One movement of a wallet, numbered without gaps, with the balance after it, which credit does not change."""

    id = StrictUUIDField()
    number = StrictIntegerField(min_value=1)
    transaction = StrictUUIDField()
    type = StrictChoiceField(LedgerTransaction.Type)
    reason = StrictChoiceField(Entry.Reason)
    moves = StrictChoiceField(["BALANCE", "CREDIT"])
    amount = MoneyText()
    currency = StrictChoiceField(list(CURRENCIES))
    balance_after = MoneyText()
    reference = TextField(max_length=128)
    posted_at = StrictDateTimeField()

    def to_representation(self, instance: Entry) -> dict[str, Any]:
        return selectors.entry_document(instance)


class TransferReceipt(serializers.Serializer[Any]):
    """A transfer as its sender sees it."""

    id = StrictUUIDField()
    transaction = StrictUUIDField()
    source = TextField(max_length=40)  # type: ignore[assignment]  # a field, not Field.source
    target = TextField(max_length=40)
    amount = MoneyText()
    currency = StrictChoiceField(list(CURRENCIES))
    status = StrictChoiceField(["COMPLETED"])
    created_at = StrictDateTimeField()

    def to_representation(self, instance: Transfer) -> dict[str, Any]:
        return selectors.transfer_document(instance, source=instance.source.number, target=instance.target.number)


class TransferAnswer(TransferReceipt):
    """What the sender gets at once: the transfer, and what the source holds after it."""

    source_balance = MoneyText()
    source_available = MoneyText()


class DepositReceipt(serializers.Serializer[Any]):
    """A deposit; `transaction` is null until the money is credited."""

    id = StrictUUIDField()
    wallet = TextField(max_length=40)
    amount = MoneyText()
    currency = StrictChoiceField(list(CURRENCIES))
    status = StrictChoiceField(Deposit.Status)
    provider = TextField(max_length=16)
    transaction = StrictUUIDField(allow_null=True)
    created_at = StrictDateTimeField()
    expires_at = StrictDateTimeField()
    completed_at = StrictDateTimeField(allow_null=True)

    def to_representation(self, instance: Deposit) -> dict[str, Any]:
        return selectors.deposit_document(instance, wallet=instance.wallet.number)


class WithdrawalReceipt(serializers.Serializer[Any]):
    """A withdrawal; its amount is held until it is COMPLETED, or released when it ends otherwise."""

    id = StrictUUIDField()
    wallet = TextField(max_length=40)
    bank_account = StrictUUIDField()
    bank_account_last_four = TextField(max_length=4)
    amount = MoneyText()
    currency = StrictChoiceField(list(CURRENCIES))
    status = StrictChoiceField(Withdrawal.Status)
    transaction = StrictUUIDField(allow_null=True)
    created_at = StrictDateTimeField()
    updated_at = StrictDateTimeField()
    completed_at = StrictDateTimeField(allow_null=True)

    def to_representation(self, instance: Withdrawal) -> dict[str, Any]:
        return selectors.withdrawal_document(
            instance, wallet=instance.wallet.number, bank_account=instance.bank_account
        )


class BankAccountSummary(serializers.Serializer[Any]):
    """A bank account on file; its number is never shown again."""

    id = StrictUUIDField()
    holder = TextField(max_length=140)
    bank_name = TextField(max_length=140)
    branch = TextField(max_length=140)
    code_type = StrictChoiceField(BankAccount.Scheme)
    code = TextField(max_length=34)
    number_last_four = TextField(max_length=4)
    is_default = StrictBooleanField()
    created_at = StrictDateTimeField()

    def to_representation(self, instance: BankAccount) -> dict[str, Any]:
        return selectors.bank_account_document(instance)


class PaymentReceived(serializers.Serializer[Any]):
    """What became of the deposit that a provider reported on."""

    deposit = StrictUUIDField()
    reference = TextField(max_length=128)
    status = StrictChoiceField(Deposit.Status)

    def to_representation(self, instance: Deposit) -> dict[str, Any]:
        return {"deposit": instance.id, "reference": instance.provider_reference, "status": instance.status}
