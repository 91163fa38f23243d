"""Money as staff see it; what they decide about it is an action with a reason, done by a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from core import lists
from core.admin import ReadOnlyAdmin, ReasonForm, act_on_each
from core.api.requests import actor_of
from core.audit import ActorKind
from core.errors import DomainError
from core.masking import withheld
from core.money import CURRENCIES
from wallets.models import (
    GATED_KINDS,
    Adjustment,
    BankAccount,
    Deposit,
    Entry,
    LedgerTransaction,
    PaymentReport,
    Seal,
    Transfer,
    UnfoldedLeg,
    Wallet,
    Withdrawal,
)
from wallets.services import adjustments, bank_accounts, deposits, withdrawals


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("number", "owner", "environment", "kind", "currency", "balance", "held", "credit", "status")
    list_filter = ("environment", "kind", "status", "currency")
    list_select_related = ("owner",)
    search_fields = ("=number", "=owner__id")
    search_help_text = "A wallet's number, or a client's id"
    exclude = ("head",)


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyAdmin):
    list_display = ("posted_at", "type", "environment", "owner_id", "actor_kind", "actor_id", "reason", "reference")
    list_filter = ("type", "environment", ("actor_kind", lists.fixed(*ActorKind)))
    search_fields = ("=id", "=owner__id", "=request_id")
    search_help_text = "A transaction's id, a client's id, or a request's"
    exclude = ("idempotency_digest",)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ("posted_at", "reason", "wallet", "amount", "currency", "balance_after", "wallet_version")
    list_filter = ("reason",)
    list_select_related = ("wallet",)
    search_fields = ("=transaction__id", "=owner__id")
    search_help_text = "A transaction's id, the number of a client's wallet, or a client's id"
    exclude = ("digest",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Entry], search_term: str
    ) -> tuple[QuerySet[Entry], bool]:
        """
        A wallet's entries by the index that has its owner's in their order; most of those are the wallet's.

        The house's wallets are in half of all postings, of all owners, and no index has theirs: nobody pages there.
        """
        number = search_term.strip().upper()
        wallet = Wallet.objects.filter(number=number, kind__in=GATED_KINDS).values("pk", "owner_id").first()
        if wallet is not None:
            return queryset.filter(owner_id=wallet["owner_id"], wallet_id=wallet["pk"]), False
        return super().get_search_results(request, queryset, search_term)


@admin.register(UnfoldedLeg)
class UnfoldedLegAdmin(ReadOnlyAdmin):
    list_display = ("entry_id", "wallet", "amount")
    list_select_related = ("wallet",)
    search_fields = ("=entry_id", "=wallet__number")


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "source", "target", "amount", "currency", "owner_id")
    list_filter = (("currency", lists.fixed(*CURRENCIES)),)
    list_select_related = ("source", "target")
    search_fields = ("=id", "=owner__id", "=transaction__id")
    search_help_text = "A transfer's id, a client's id, or a transaction's"


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin):
    list_display = ("sealed_at", "wallets", "entries", "export")
    exclude = ("digest", "signature", "public_key")


@admin.register(Deposit)
class DepositAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "status", "owner", "wallet", "amount", "currency", "provider", "provider_reference")
    list_filter = ("status", "provider", "currency")
    list_select_related = ("owner", "wallet")
    search_fields = ("=id", "=owner__id", "=wallet__number", "=provider_reference")
    search_help_text = "A deposit's id, a client's id, a wallet's number, or a provider's reference"
    exclude = ("idempotency_digest",)
    action_form = ReasonForm
    actions = ("approve", "reject", "reverse")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.change_deposit")

    @admin.action(description="Approve: the money is here", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[Deposit]) -> None:
        self._decide(request, rows, deposits.approve_deposit, "approved")

    @admin.action(description="Reject: the money will not come", permissions=["decide"])
    def reject(self, request: HttpRequest, rows: QuerySet[Deposit]) -> None:
        self._decide(request, rows, deposits.reject_deposit, "rejected")

    @admin.action(description="Reverse: take the money back out", permissions=["decide"])
    def reverse(self, request: HttpRequest, rows: QuerySet[Deposit]) -> None:
        self._decide(request, rows, deposits.reverse_deposit, "reversed")

    def _decide(self, request: HttpRequest, rows: QuerySet[Deposit], decide: Callable[..., object], done: str) -> None:
        def act(row: Deposit, reason: str) -> object:
            return decide(deposit_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, done)


@admin.register(PaymentReport)
class PaymentReportAdmin(ReadOnlyAdmin):
    list_display = ("first_received_at", "provider", "reference", "deposit_ref", "succeeded", "amount", "currency")
    list_filter = ("succeeded",)
    search_fields = ("=reference",)
    search_help_text = "A provider's reference"


@admin.register(Withdrawal)
class WithdrawalAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "status", "owner", "wallet", "amount", "currency", "two_person", "approved_by")
    list_filter = ("status", "two_person", "currency")
    list_select_related = ("owner", "wallet", "approved_by")
    search_fields = ("=id", "=owner__id", "=wallet__number", "=bank_reference")
    search_help_text = "A withdrawal's id, a client's id, a wallet's number, or a bank's reference"
    exclude = ("idempotency_digest",)
    action_form = ReasonForm
    actions = ("start_review", "approve", "reject", "mark_sent", "complete", "fail")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.change_withdrawal")

    @admin.action(description="Take into review", permissions=["decide"])
    def start_review(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.start_review, "taken into review")

    @admin.action(description="Approve", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.approve_withdrawal, "approved")

    @admin.action(description="Reject and release the hold", permissions=["decide"])
    def reject(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.reject_withdrawal, "rejected")

    @admin.action(description="Mark as sent: the bank was told to pay", permissions=["decide"])
    def mark_sent(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.mark_sent, "marked as sent")

    @admin.action(description="Complete: the bank has paid", permissions=["decide"])
    def complete(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.complete_withdrawal, "completed")

    @admin.action(description="Fail: the bank did not pay", permissions=["decide"])
    def fail(self, request: HttpRequest, rows: QuerySet[Withdrawal]) -> None:
        self._decide(request, rows, withdrawals.fail_withdrawal, "failed")

    def _decide(
        self, request: HttpRequest, rows: QuerySet[Withdrawal], decide: Callable[..., object], done: str
    ) -> None:
        def act(row: Withdrawal, reason: str) -> object:
            return decide(withdrawal_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, done)


@admin.register(Adjustment)
class AdjustmentAdmin(ReadOnlyAdmin):
    list_display = ("proposed_at", "status", "owner", "wallet", "direction", "amount", "currency", "proposed_by")
    list_filter = ("status", "direction", "currency")
    list_select_related = ("owner", "wallet", "proposed_by")
    search_fields = ("=id", "=owner__id", "=wallet__number", "=transaction__id")
    search_help_text = "An adjustment's id, a client's id, a wallet's number, or a transaction's id"
    exclude = ("idempotency_digest",)
    action_form = ReasonForm
    actions = ("approve", "reject", "withdraw")

    def has_propose_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.add_adjustment")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.change_adjustment")

    @admin.action(description="Approve: post it", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[Adjustment]) -> None:
        self._decide(request, rows, adjustments.approve_adjustment, "approved")

    @admin.action(description="Reject", permissions=["decide"])
    def reject(self, request: HttpRequest, rows: QuerySet[Adjustment]) -> None:
        self._decide(request, rows, adjustments.reject_adjustment, "rejected")

    @admin.action(description="Withdraw what you have proposed", permissions=["propose"])
    def withdraw(self, request: HttpRequest, rows: QuerySet[Adjustment]) -> None:
        self._decide(request, rows, adjustments.withdraw_adjustment, "withdrawn")

    def _decide(
        self, request: HttpRequest, rows: QuerySet[Adjustment], decide: Callable[..., object], done: str
    ) -> None:
        def act(row: Adjustment, reason: str) -> object:
            return decide(adjustment_id=row.pk, reason=reason, actor=actor_of(request))

        act_on_each(self, request, rows, act, done)


@admin.register(BankAccount)
class BankAccountAdmin(ReadOnlyAdmin):
    list_display = ("owner", "holder", "bank_name", "code_type", "code", "number_last_four", "is_default")
    list_filter = ("code_type",)
    list_select_related = ("owner",)
    search_fields = ("=id", "=owner__id")
    search_help_text = "A bank account's id, or a client's"
    exclude = ("number_encrypted", "number_hash")
    personal = {"branch": withheld, "code": withheld}
    action_form = ReasonForm
    actions = ("reveal",)

    def has_reveal_permission(self, request: HttpRequest) -> bool:
        """Whoever pays out has to know where to."""
        return request.user.has_perm("wallets.change_withdrawal")

    @admin.action(description="Reveal the number of one account", permissions=["reveal"])
    def reveal(self, request: HttpRequest, rows: QuerySet[BankAccount]) -> HttpResponse | None:
        """On a page of its own: a message would leave the number in a cookie."""
        chosen = list(rows[:2])
        if len(chosen) != 1:
            self.message_user(
                request, "Choose one bank account; each is revealed for a reason of its own.", messages.ERROR
            )
            return None
        reason = request.POST.get("reason", "")
        try:
            number = bank_accounts.reveal_bank_number(
                bank_account_id=chosen[0].pk, reason=reason, actor=actor_of(request)
            )
        except DomainError as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return None
        context: dict[str, Any] = {**self.admin_site.each_context(request), "account": chosen[0], "number": number}
        return TemplateResponse(request, "admin/wallets/bankaccount/revealed.html", context)
