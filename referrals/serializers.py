"""What referrers ask for and see: of their own rewards everything, of the people they referred a mask."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api import StrictChoiceField, StrictDateTimeField, Terms
from referrals import selectors
from referrals.models import Commission

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
