"""Referrals over REST."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request

from core.api import owner_of
from core.api.views import ListAPIView, OperationView
from core.audit import Actor
from core.idempotency import Answer, Claim
from referrals import selectors, serializers
from referrals.models import SignupBonus
from referrals.services import bonuses
from trading.errors import TradingAccountNotFound
from wallets.rules import VerificationRequired, WalletNotActive

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
