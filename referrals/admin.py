"""Rewards as staff see them: everything, and nothing to change here."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ReadOnlyAdmin
from referrals.models import BonusIdentity, BonusPolicy, SignupBonus

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
