"""What referrals take and give over REST."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api import StrictChoiceField, StrictDateTimeField, StrictUUIDField, Terms, TextField
from core.money import CURRENCIES
from referrals import selectors
from referrals.models import SignupBonus

# --- Sign-up bonus --------------------------------------------------------------------------------------------------


class BonusTerms(Terms):
    """The trading account that is to get it."""

    account = TextField(max_length=20, pattern="[0-9]+")


class BonusDocument(serializers.Serializer[Any]):
    """A sign-up bonus; `remaining` is what is left of it to trade with."""

    id = StrictUUIDField()
    account = TextField(max_length=20)
    amount = serializers.CharField()
    remaining = serializers.CharField()
    currency = StrictChoiceField(list(CURRENCIES))
    status = StrictChoiceField(SignupBonus.Status)
    transaction = StrictUUIDField()
    granted_at = StrictDateTimeField()
    expires_at = StrictDateTimeField()
    ended_at = StrictDateTimeField(allow_null=True)

    def to_representation(self, instance: SignupBonus) -> dict[str, Any]:
        remaining = selectors.remaining(instance)
        return selectors.bonus_document(instance, account=instance.account.number, remaining=remaining)


class BonusReceipt(BonusDocument):
    """The bonus as it was given, and the account's whole credit."""

    credit = serializers.CharField()
