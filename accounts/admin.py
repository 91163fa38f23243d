"""People as staff see them; what changes somebody's standing is an action with a reason, done by a service."""

from __future__ import annotations

from typing import ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import rules, selectors
from accounts.models import ApiToken, Freeze, ReferrerChange, StaffSession, TradingAccount, User, Verification
from accounts.services import freezes, referrers, verifications
from core.admin import ReadOnlyAdmin, ReasonForm, act_on_each
from core.api.requests import actor_of
from core.masking import masked_email, masked_phone, withheld


class PersonForm(ReasonForm):
    """The reason; for a freeze its end, and for another referrer their code."""

    until = forms.DateTimeField(
        required=False,
        label="Frozen until (UTC; empty: until it is lifted):",
        widget=UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )
    code = forms.CharField(required=False, max_length=16, label="Referral code of the new referrer:")


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("client", "email", "name", "country", "is_staff", "is_active", "email_confirmed_at", "created_at")
    list_display_links = ("email",)
    list_filter = ("is_staff", "is_active")
    search_fields = ("=id", "=number", "=email", "=phone", "=referral_code")
    search_help_text = "An id, a client's number, an email address in lower case, a phone number, or a referral code"
    exclude = ("password",)
    personal = {"email": masked_email, "phone": masked_phone, "date_of_birth": withheld, "address": withheld}
    action_form = PersonForm
    actions = ("freeze_login", "freeze_trading", "freeze_deposits", "freeze_withdrawals", "propose_referrer")

    @admin.display(description="Number")
    def client(self, row: User) -> str:
        """A link to the client's page, where there is one; staff have neither page nor number."""
        if row.number is None:
            return "–"
        try:
            return format_html(
                '<a class="text-link" href="{}">{}</a>', reverse("admin:client", args=[row.pk]), row.number
            )
        except NoReverseMatch:
            return row.number

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """An address by the index that keeps it unique, which is on its small letters."""
        if "@" in search_term:
            return queryset.filter(pk__in=User.objects.with_email(search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)

    def has_freeze_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_freeze")

    @admin.action(description="Freeze log-in, and log out everywhere", permissions=["freeze"])
    def freeze_login(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        self._freeze(request, rows, Freeze.Scope.LOGIN)

    @admin.action(description="Freeze trading", permissions=["freeze"])
    def freeze_trading(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        self._freeze(request, rows, Freeze.Scope.TRADING)

    @admin.action(description="Freeze deposits", permissions=["freeze"])
    def freeze_deposits(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        self._freeze(request, rows, Freeze.Scope.DEPOSITS)

    @admin.action(description="Freeze withdrawals", permissions=["freeze"])
    def freeze_withdrawals(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        self._freeze(request, rows, Freeze.Scope.WITHDRAWALS)

    def _freeze(self, request: HttpRequest, rows: QuerySet[User], scope: str) -> None:
        until = PersonForm.base_fields["until"].clean(request.POST.get("until"))

        def act(row: User, reason: str) -> object:
            return freezes.place_freeze(
                owner=row.pk, scope=scope, reason=reason, expires_at=until, actor=actor_of(request)
            )

        act_on_each(self, request, rows, act, "frozen")

    def has_propose_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_referrerchange")

    @admin.action(description="Propose another referrer (no code: nobody)", permissions=["propose"])
    def propose_referrer(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        def act(row: User, reason: str) -> object:
            typed = request.POST.get("code", "").strip()
            named = selectors.referrer(rules.read_referral_code(typed)) if typed else None
            if typed and named is None:
                raise rules.ReferralCodeInvalid
            return referrers.propose_referrer(
                client_id=row.pk,
                referrer_id=None if named is None else named.pk,
                reason=reason,
                actor=actor_of(request),
            )

        act_on_each(self, request, rows, act, "proposed")


@admin.register(ReferrerChange)
class ReferrerChangeAdmin(ReadOnlyAdmin):
    list_display = ("proposed_at", "owner", "previous", "referrer", "status", "proposed_by", "decided_by", "reason")
    list_filter = ("status",)
    list_select_related = ("owner", "previous", "referrer", "proposed_by", "decided_by")
    search_fields = ("=id", "=owner__id")
    search_help_text = "A proposal's id, or a client's"
    action_form = ReasonForm
    actions = ("approve", "reject")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_referrerchange")

    @admin.action(description="Approve; it counts from now on", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[ReferrerChange]) -> None:
        def act(row: ReferrerChange, reason: str) -> object:
            return referrers.approve_referrer(change_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, "approved")

    @admin.action(description="Reject", permissions=["decide"])
    def reject(self, request: HttpRequest, rows: QuerySet[ReferrerChange]) -> None:
        def act(row: ReferrerChange, reason: str) -> object:
            return referrers.reject_referrer(change_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, "rejected")


@admin.register(TradingAccount)
class TradingAccountAdmin(ReadOnlyAdmin):
    list_display = (
        "number",
        "owner",
        "environment",
        "currency",
        "leverage",
        "jurisdiction",
        "is_self_trading",
        "created_at",
    )
    list_filter = ("environment",)
    list_select_related = ("owner",)
    search_fields = ("=number", "=owner__id")
    search_help_text = "An account's number, or a client's id"


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    list_display = ("owner", "status", "submitted_at", "reviewed_at", "reviewed_by")
    list_filter = ("status",)
    list_select_related = ("owner", "reviewed_by")
    search_fields = ("=id", "=owner__id")
    search_help_text = "A verification's id, or a client's"
    personal = {"documents": withheld}
    action_form = ReasonForm
    actions = ("start_review", "approve", "reject", "ask_for_more")

    _status: ClassVar[type[Verification.Status]] = Verification.Status

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_verification")

    @admin.action(description="Take into review", permissions=["review"])
    def start_review(self, request: HttpRequest, rows: QuerySet[Verification]) -> None:
        self._review(request, rows, self._status.IN_REVIEW, "taken into review")

    @admin.action(description="Approve", permissions=["review"])
    def approve(self, request: HttpRequest, rows: QuerySet[Verification]) -> None:
        self._review(request, rows, self._status.APPROVED, "approved")

    @admin.action(description="Reject", permissions=["review"])
    def reject(self, request: HttpRequest, rows: QuerySet[Verification]) -> None:
        self._review(request, rows, self._status.REJECTED, "rejected")

    @admin.action(description="Ask the client for more; they read the reason", permissions=["review"])
    def ask_for_more(self, request: HttpRequest, rows: QuerySet[Verification]) -> None:
        self._review(request, rows, self._status.ACTION_REQUIRED, "sent back")

    def _review(self, request: HttpRequest, rows: QuerySet[Verification], outcome: str, done: str) -> None:
        def act(row: Verification, reason: str) -> object:
            return verifications.review_verification(
                verification_id=row.pk, outcome=outcome, reason=reason, actor=actor_of(request)
            )

        act_on_each(self, request, rows, act, done)


@admin.register(Freeze)
class FreezeAdmin(ReadOnlyAdmin):
    list_display = ("owner", "scope", "reason", "placed_at", "placed_by", "expires_at", "lifted_at", "lifted_by")
    list_filter = ("scope",)
    list_select_related = ("owner",)
    search_fields = ("=id", "=owner__id")
    search_help_text = "A freeze's id, or a client's"
    action_form = ReasonForm
    actions = ("lift",)

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_freeze")

    @admin.action(description="Lift what somebody else has placed", permissions=["lift"])
    def lift(self, request: HttpRequest, rows: QuerySet[Freeze]) -> None:
        def act(row: Freeze, reason: str) -> object:
            return freezes.lift_freeze(freeze_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, "lifted")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "owner", "name", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("=id", "=prefix", "=owner__id")
    search_help_text = "A token's id or prefix, or a client's id"
    exclude = ("digest",)
    personal = {"addresses": withheld}


@admin.register(StaffSession)
class StaffSessionAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "owner", "address", "user_agent", "seen_at", "ended_at", "ended_by", "reason")
    list_select_related = ("owner", "ended_by")
    search_fields = ("=id", "=owner__id", "=address")
    search_help_text = "A session's id, a member of staff's, or an IP address"
    exclude = ("digest",)
