"""Deposits by bank transfer: staff find the money on the statement, and say so."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse

from config.back_office.cells import anchor, colleague, link
from config.back_office.pages import page
from config.back_office.queues import looks, selectors
from config.back_office.queues.deciding import ACT, PaymentReferenceForm, Step, buttons, decide
from core.money import show as spell
from wallets import payments
from wallets.models import Deposit
from wallets.services import deposits

VIEW, CHANGE = "wallets.view_deposit", "wallets.change_deposit"
STEPS = {
    "APPROVE": Step(
        "Approve: the money is here", deposits.approve_deposit, "Credited.", CHANGE, "primary", ("reason", "reference")
    ),
    "REJECT": Step("Reject: it will not come", deposits.reject_deposit, "Rejected.", CHANGE, "danger"),
    "REVERSE": Step("Reverse: take it back out", deposits.reverse_deposit, "Reversed.", CHANGE, "danger"),
}
POSSIBLE = {Deposit.Status.PENDING: ("APPROVE", "REJECT"), Deposit.Status.COMPLETED: ("REVERSE",)}
REMARK = "Announced by clients and looked for on the bank statement by the deposit's id, oldest first."


@page("queues/deposits/", name="deposit_queue", title="Deposits", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """What clients say they have sent."""
    rows = selectors.oldest_first(selectors.deposits(), by="created_at", after=request.GET.get("after", ""))
    return looks.queue(
        request,
        title="Deposits",
        remark=REMARK,
        headers=["Waiting", "Deposit", "Amount", "Client", "Wallet", "Expires"],
        page=rows,
        rows=[
            [
                looks.age(row.created_at),
                anchor(reverse("admin:deposit", args=[row.pk]), row.pk),
                _amount(row),
                looks.client(request, row.owner),
                row.wallet.number,
                looks.stamp(row.expires_at),
            ]
            for row in rows.rows
        ],
    )


@page("queues/deposits/<uuid:deposit_id>/", name="deposit", title="Deposit", permission=VIEW, methods=ACT)
def deposit(request: HttpRequest, deposit_id: UUID) -> HttpResponseBase:
    """One deposit, and what can be done about it."""
    if request.method == "POST":
        here = reverse("admin:deposit", args=[deposit_id])
        return decide(request, STEPS, PaymentReferenceForm(request.POST), back=here, deposit_id=deposit_id)
    related = ("owner", "wallet", "transaction", "reviewed_by")
    row = Deposit.objects.select_related(*related).filter(pk=deposit_id).first()
    if row is None:
        raise Http404
    # What a provider reports is the provider's to settle.
    is_theirs = row.status == Deposit.Status.PENDING and row.provider != payments.Manual.name
    possible = () if is_theirs else POSSIBLE.get(Deposit.Status(row.status), ())
    return looks.case(
        request,
        title=f"Deposit of {_amount(row)}",
        back="deposit_queue",
        facts=[
            ("Deposit", row.pk),
            ("Client", looks.client(request, row.owner)),
            ("Wallet", link(request, row.wallet, row.wallet.number)),
            ("State", looks.status(row.status)),
            ("Provider", row.provider),
            ("Reference", row.provider_reference or "–"),
            ("Announced", f"{looks.stamp(row.created_at)}, {looks.age(row.created_at)} ago"),
            ("Expires", looks.stamp(row.expires_at)),
            ("Decided by", colleague(row.reviewed_by)),
            ("Reason", row.reason or "–"),
            ("Posted as", link(request, row.transaction, row.transaction) if row.transaction else "–"),
        ],
        form=PaymentReferenceForm(),
        possible=buttons(request, STEPS, *possible),
    )


def _amount(row: Deposit) -> str:
    return f"{spell(row.amount, row.currency)} {row.currency}"
