"""Corrections of a client's wallet: one person fills in the form, another one reads it and decides."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from config.back_office.cells import anchor, colleague, link
from config.back_office.pages import page, show, told
from config.back_office.queues import looks, selectors
from config.back_office.queues.deciding import ACT, ReasonForm, Step, buttons, decide
from core.api.requests import actor_of
from core.ids import uuid7
from core.money import show as spell
from wallets.models import GATED_KINDS, Adjustment, Wallet
from wallets.services import adjustments

VIEW, PROPOSE, DECIDE = "wallets.view_adjustment", "wallets.add_adjustment", "wallets.change_adjustment"
STEPS = {
    "APPROVE": Step("Approve and post", adjustments.approve_adjustment, "Approved and posted.", DECIDE, "primary"),
    "REJECT": Step("Reject", adjustments.reject_adjustment, "Rejected; nothing was posted.", DECIDE, "danger"),
    "WITHDRAW": Step("Withdraw", adjustments.withdraw_adjustment, "Withdrawn; nothing was posted.", PROPOSE),
}
REMARK = "Proposed by one member of staff, posted when another one approves. Cash wallets only."


class WalletForm(forms.Form):
    """Which wallet."""

    wallet = forms.CharField(
        max_length=40,
        label="Wallet number",
        widget=UnfoldAdminTextInputWidget,
        help_text="A client's cash wallet. A trading account's is not adjusted: open positions may rest on it.",
    )


class AdjustmentForm(ReasonForm):
    """What to correct, by how much, and why. `key` is this form's own: sent twice, it proposes once."""

    wallet = forms.CharField(max_length=40, widget=forms.HiddenInput)
    key = forms.UUIDField(widget=forms.HiddenInput)
    direction = forms.ChoiceField(
        choices=[("CREDIT", "Credit: into the wallet"), ("DEBIT", "Debit: out of the wallet")],
        widget=UnfoldAdminSelectWidget,
    )
    amount = forms.DecimalField(
        max_digits=20,
        decimal_places=8,
        min_value=Decimal("0.00000001"),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text="In the wallet's currency.",
    )
    reference = forms.CharField(
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text="The client reads it on their statement; the reason they do not.",
    )
    field_order = ("wallet", "key", "direction", "amount", "reference", "reason")


@page("queues/adjustments/", name="adjustment_queue", title="Adjustments", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """What waits for a second person."""
    rows = selectors.oldest_first(selectors.adjustments(), by="proposed_at", after=request.GET.get("after", ""))
    may_propose = request.user.has_perm(PROPOSE)
    return looks.queue(
        request,
        title="Adjustments",
        remark=REMARK,
        headers=["Waiting", "Adjustment", "Client", "Wallet", "Proposed by", "Reason"],
        page=rows,
        rows=[
            [
                looks.age(row.proposed_at),
                anchor(reverse("admin:adjustment", args=[row.pk]), _amount(row)),
                looks.client(request, row.owner),
                row.wallet.number,
                colleague(row.proposed_by),
                row.reason,
            ]
            for row in rows.rows
        ],
        act=("Propose an adjustment", reverse("admin:adjustment_new")) if may_propose else None,
    )


@page("queues/adjustments/new/", name="adjustment_new", title="Propose an adjustment", permission=PROPOSE, methods=ACT)
def propose(request: HttpRequest) -> HttpResponseBase:
    """Find a wallet by its number, look at it, and say what to correct."""
    if request.method == "POST":
        form = AdjustmentForm(request.POST)
        made = _propose(request, form) if form.is_valid() else None
        if made is not None:
            return HttpResponseRedirect(reverse("admin:adjustment", args=[made.pk]))
        return _form_page(request, request.POST.get("wallet", ""), form)
    number = request.GET.get("wallet", "").strip()
    return _form_page(request, number, AdjustmentForm(initial={"wallet": number, "key": uuid7()}))


def _propose(request: HttpRequest, form: AdjustmentForm) -> Adjustment | None:
    given: dict[str, Any] = form.cleaned_data | {"key": str(form.cleaned_data["key"])}
    act = partial(adjustments.propose_adjustment, **given, actor=actor_of(request))
    return told(request, act, "Proposed; somebody else decides about it.")


def _form_page(request: HttpRequest, number: str, form: AdjustmentForm) -> HttpResponseBase:
    wallet = Wallet.objects.select_related("owner").filter(number=number, kind__in=GATED_KINDS).first()
    if number and wallet is None:
        messages.error(request, f"No client has a wallet {number}.")
    facts = [] if wallet is None else [
        ("Wallet", wallet.number),
        ("Client", looks.client(request, wallet.owner)),
        ("Kind", f"{wallet.environment} {wallet.kind}"),
        ("Balance", f"{spell(wallet.balance, wallet.currency)} {wallet.currency}"),
        ("Available", f"{spell(wallet.balance - wallet.held, wallet.currency)} {wallet.currency}"),
        ("State", looks.status(wallet.status)),
    ]  # fmt: skip
    return show(
        request,
        "queues/propose.html",
        title="Propose an adjustment",
        find=WalletForm(initial={"wallet": number}),
        facts=facts,
        form=form,
    )


@page("queues/adjustments/<uuid:adjustment_id>/", name="adjustment", title="Adjustment", permission=VIEW, methods=ACT)
def adjustment(request: HttpRequest, adjustment_id: UUID) -> HttpResponseBase:
    """One proposal, and what this member of staff can do about it."""
    if request.method == "POST":
        here = reverse("admin:adjustment", args=[adjustment_id])
        return decide(request, STEPS, ReasonForm(request.POST), back=here, adjustment_id=adjustment_id)
    related = ("owner", "wallet", "transaction", "proposed_by", "decided_by")
    row = Adjustment.objects.select_related(*related).filter(pk=adjustment_id).first()
    if row is None:
        raise Http404
    is_open, is_mine = row.status == Adjustment.Status.PROPOSED, row.proposed_by_id == request.user.pk
    possible = ("APPROVE", "REJECT", "WITHDRAW") if is_mine else ("APPROVE", "REJECT")
    return looks.case(
        request,
        title=_amount(row),
        back="adjustment_queue",
        facts=[
            ("Client", looks.client(request, row.owner)),
            ("Wallet", link(request, row.wallet, row.wallet.number)),
            ("Available now", f"{spell(row.wallet.balance - row.wallet.held, row.currency)} {row.currency}"),
            ("State", looks.status(row.status)),
            ("Proposed by", colleague(row.proposed_by)),
            ("Proposed", f"{looks.stamp(row.proposed_at)}, {looks.age(row.proposed_at)} ago"),
            ("Reason", row.reason),
            ("Reference", row.reference or "–"),
            ("Decided by", colleague(row.decided_by)),
            ("Decided", looks.stamp(row.decided_at)),
            ("Decision", row.decision or "–"),
            ("Posted as", link(request, row.transaction, row.transaction) if row.transaction else "–"),
        ],
        form=ReasonForm(),
        possible=buttons(request, STEPS, *(possible if is_open else ())),
        notes=["You proposed this; approving or rejecting it is somebody else's."] if is_open and is_mine else [],
    )


def _amount(row: Adjustment) -> str:
    return f"{row.direction.capitalize()} of {spell(row.amount, row.currency)} {row.currency}"
