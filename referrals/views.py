"""Referrals over REST: a referrer reads their own, and nothing here changes anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import selectors as people
from core.api import KeysetPagination, owner_of
from core.api.filters import ChoiceFilter, KnownFilters, MomentFilter, UUIDFilter, WholeNumberFilter
from core.api.views import APIView, ListAPIView, OperationView
from core.audit import Actor
from core.idempotency import Answer, Claim
from referrals import selectors, serializers
from referrals.models import Commission, SignupBonus
from referrals.services import bonuses
from trading.errors import TradingAccountNotFound
from wallets.rules import VerificationRequired, WalletNotActive

#: As the lists that page by themselves describe it.
PAGE = [
    OpenApiParameter(parameter["name"], parameter["schema"], description=parameter["description"])
    for parameter in KeysetPagination().get_schema_operation_parameters(None)
]


class ReferralsView(APIView):
    """One's own referral code, and whom it has brought so far, newest first."""

    scopes = {"GET": "read"}

    @extend_schema(
        responses=serializers.ReferralsDocument,
        parameters=PAGE,
    )
    def get(self, request: Request) -> Response:
        owner = owner_of(request)
        pages = KeysetPagination()
        referred = KnownFilters().filter_queryset(request, selectors.referred(owner), self)
        rows = pages.paginate_queryset(referred, request, self)
        page = pages.get_paginated_response([selectors.referred_document(row) for row in rows])
        code = people.person(owner).referral_code or ""
        return Response({"code": code, "link": selectors.link(code), **(page.data or {})})


class CommissionFilter(filters.FilterSet):
    """`from` is included and `to` is not: when the commission came about."""

    status = ChoiceFilter(choices=Commission.Status.choices)
    level = WholeNumberFilter()
    currency = filters.CharFilter()
    deal = UUIDFilter(field_name="deal_id")
    transaction = UUIDFilter(field_name="transaction_id")
    to = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Commission
        fields = ("status", "level", "currency", "deal", "transaction")


# A class body cannot spell a field named `from`.
CommissionFilter.base_filters["from"] = MomentFilter(field_name="created_at", lookup_expr="gte")


class CommissionListView(ListAPIView[Commission]):
    """What one has earned, newest first, each with the deal it is for, the plan, and the posting that paid it."""

    scopes: ClassVar[dict[str, str | None]] = {"GET": "read"}
    serializer_class = serializers.CommissionDocument
    filterset_class = CommissionFilter

    def get_queryset(self) -> QuerySet[Commission]:
        return selectors.commissions(owner_of(self.request))


class StatisticsView(APIView):
    """How far those one has referred have come, and what they have earned one, by period, level and state."""

    scopes = {"GET": "read"}

    @extend_schema(
        responses=serializers.StatisticsDocument,
        parameters=[
            OpenApiParameter("from", datetime, description="A moment; this one is included."),
            OpenApiParameter("to", datetime, description="A moment; this one is not."),
            OpenApiParameter("period", str, enum=serializers.PERIODS),
        ],
    )
    def get(self, request: Request) -> Response:
        asked: dict[str, Any] = serializers.StatisticsTerms.read(request.query_params.dict())
        figures = selectors.statistics(
            owner_of(request), since=asked.get("from"), until=asked.get("to"), period=asked["period"]
        )
        return Response(selectors.statistics_document(figures))


# --- Sign-up bonus --------------------------------------------------------------------------------------------------


class BonusesView(OperationView, ListAPIView[SignupBonus]):
    """
    The sign-up bonus: GET shows one's own, POST gives it to a live trading account, once.

    It is credit: margin to trade with, never to be withdrawn. What leaves the account takes a share of it along, and
    what is left at `expires_at` is taken back.
    """

    operation = bonuses.CLAIM_BONUS
    terms = serializers.BonusTerms
    receipt = serializers.BonusReceipt
    refusals = (
        TradingAccountNotFound,
        WalletNotActive,
        VerificationRequired,
        bonuses.BonusNotOffered,
        bonuses.BonusBarred,
        bonuses.BonusDepositMissing,
        bonuses.BonusClaimed,
    )
    scopes: ClassVar[dict[str, str | None]] = {"GET": "read", "POST": "trade"}
    throttle_scope = "money"
    serializer_class = serializers.BonusDocument
    queryset = SignupBonus.objects.none()

    def get_queryset(self) -> QuerySet[SignupBonus]:
        return selectors.bonuses(owner_of(self.request))

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return bonuses.claim_bonus(account=terms["account"], claim=claim, actor=actor)
