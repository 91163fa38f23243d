"""What referrers ask for and see: of their own rewards everything, of the people they referred a mask."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api import StrictChoiceField, StrictDateTimeField, StrictUUIDField, Terms, TextField
from core.money import CURRENCIES
from referrals import selectors
from referrals.models import Commission, SignupBonus

PERIODS = ("day", "week", "month")


class StatisticsTerms(Terms):
    """The query of the statistics; `from` is included and `to` is not."""

    to = StrictDateTimeField(required=False)
    period = StrictChoiceField(choices=PERIODS, required=False, default="month")

    def get_fields(self) -> dict[str, Any]:
        # A class body cannot spell a field named `from`.
        return super().get_fields() | {"from": StrictDateTimeField(required=False)}


class ReferredDocument(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Masked: the first letter of each part.")
    joined_at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=selectors.STEPS, help_text="The furthest that they have come.")


class ReferralsDocument(serializers.Serializer[Any]):
    code = serializers.CharField()
    link = serializers.CharField()
    results = ReferredDocument(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class PlanDocument(serializers.Serializer[Any]):
    code = serializers.CharField()
    version = serializers.IntegerField()
    kind = serializers.CharField()


class RewardedDealDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    symbol = serializers.CharField()
    volume = serializers.CharField()
    executed_at = serializers.DateTimeField()


class CommissionDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Commission.Status.values)
    level = serializers.IntegerField(help_text="1 if the client is your own, 2 if theirs, 3 if theirs again.")
    amount = serializers.CharField()
    currency = serializers.CharField()
    client = serializers.CharField(help_text="Masked.")
    plan = PlanDocument()
    deal = RewardedDealDocument(allow_null=True)
    deposit = serializers.UUIDField(allow_null=True, help_text="What it is for, if it is not for a deal.")
    transaction = serializers.UUIDField(allow_null=True, help_text="The posting that paid it.")
    reversal = serializers.UUIDField(allow_null=True, help_text="The posting that took it back.")
    owed = serializers.CharField(allow_null=True, help_text="What could not be taken back yet.")
    created_at = serializers.DateTimeField()
    approved_at = serializers.DateTimeField(allow_null=True)
    paid_at = serializers.DateTimeField(allow_null=True)
    reversed_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: Commission) -> dict[str, Any]:
        return selectors.commission_document(instance)


class FunnelDocument(serializers.Serializer[Any]):
    signed_up = serializers.IntegerField()
    verified = serializers.IntegerField()
    funded = serializers.IntegerField()
    traded = serializers.IntegerField()


class PeriodDocument(serializers.Serializer[Any]):
    period = serializers.DateField(help_text="The day it begins.")
    level = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Commission.Status.values)
    currency = serializers.CharField()
    count = serializers.IntegerField()
    amount = serializers.CharField()


class StatisticsDocument(serializers.Serializer[Any]):
    funnel = FunnelDocument()
    active_clients = serializers.IntegerField(help_text="Clients of any level whose trading was rewarded.")
    lots = serializers.CharField()
    commissions = PeriodDocument(many=True)
    owed = serializers.DictField(child=serializers.CharField(), help_text="By currency.")


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
