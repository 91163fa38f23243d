"""Referrals as staff see them: everything; a commission is approved or reversed by an action with a reason."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ReadOnlyAdmin, ReasonForm, act_on_each
from core.api.requests import actor_of
from referrals.models import (
    Accrual,
    BonusIdentity,
    BonusPolicy,
    Commission,
    CommissionPlan,
    Debt,
    DebtSettlement,
    SignupBonus,
)
from referrals.services import approvals, reversals


@admin.register(CommissionPlan)
class CommissionPlanAdmin(ReadOnlyAdmin):
    list_display = ("code", "version", "kind", "currency", "rates", "cap_percent", "valid_from", "valid_to")
    list_filter = ("kind",)
    search_fields = ("=code",)


@admin.register(Accrual)
class AccrualAdmin(ReadOnlyAdmin):
    list_display = ("executed_at", "deal_id", "owner", "outcome", "plan", "revenue", "pool", "currency")
    list_filter = ("outcome",)
    list_select_related = ("owner", "plan")
    search_fields = ("=deal__id", "=owner__id")
    search_help_text = "A deal's id, or a client's"


@admin.register(Commission)
class CommissionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "client", "level", "amount", "currency", "status", "plan", "deal_id")
    list_filter = ("status", "level")
    list_select_related = ("owner", "client", "plan")
    search_fields = ("=id", "=owner__id", "=deal__id", "=transaction__id")
    search_help_text = "The id of a commission, of its referrer, of its deal, or of the posting that paid it"
    action_form = ReasonForm
    actions = ("approve", "reverse")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("referrals.change_commission")

    @admin.action(description="Approve before its hold is over", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[Commission]) -> None:
        self._decide(request, rows, approvals.approve_commission, "approved")

    @admin.action(description="Reverse: stop it, or take back what was paid", permissions=["decide"])
    def reverse(self, request: HttpRequest, rows: QuerySet[Commission]) -> None:
        self._decide(request, rows, reversals.reverse_commission, "reversed")

    def _decide(
        self, request: HttpRequest, rows: QuerySet[Commission], decide: Callable[..., object], done: str
    ) -> None:
        def act(row: Commission, reason: str) -> object:
            return decide(commission_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, done)


@admin.register(Debt)
class DebtAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "amount", "settled", "currency", "settled_at")
    list_select_related = ("owner",)
    search_fields = ("=id", "=owner__id", "=commission__id")
    search_help_text = "The id of a debt, of its referrer, or of the commission that was reversed"


@admin.register(DebtSettlement)
class DebtSettlementAdmin(ReadOnlyAdmin):
    list_display = ("settled_at", "owner", "debt", "amount", "transaction_id")
    list_select_related = ("owner", "debt")
    search_fields = ("=debt__id", "=transaction__id")
    search_help_text = "The id of a debt, or of the payout that settled it"


# --- Sign-up bonus --------------------------------------------------------------------------------------------------


@admin.register(BonusPolicy)
class BonusPolicyAdmin(ReadOnlyAdmin):
    list_display = ("currency", "version", "is_offered", "amount", "deposit_min", "days_valid", "valid_from")
    list_filter = ("is_offered",)
    search_fields = ("=currency",)


@admin.register(SignupBonus)
class SignupBonusAdmin(ReadOnlyAdmin):
    list_display = ("granted_at", "account", "amount", "currency", "status", "expires_at", "ended_at", "removed")
    list_filter = ("status",)
    list_select_related = ("account",)
    search_fields = ("=id", "=owner__id", "=account__number")
    search_help_text = "A bonus's id, a client's, or an account's number"
    exclude = ("idempotency_digest",)


@admin.register(BonusIdentity)
class BonusIdentityAdmin(ReadOnlyAdmin):
    list_display = ("kind", "owner", "bonus")
    list_filter = ("kind",)
    list_select_related = ("owner", "bonus")
    search_fields = ("=owner__id", "=bonus__id")
    search_help_text = "A client's id, or a bonus's"
    exclude = ("digest",)
