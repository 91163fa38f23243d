"""What referrers are owed and not paid yet: approved before its time, or stopped."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse

from config.back_office.cells import anchor, colleagues, link
from config.back_office.pages import page
from config.back_office.queues import looks, selectors
from config.back_office.queues.deciding import ACT, ReasonForm, Step, buttons, decide
from core.money import show as spell
from referrals.models import Commission
from referrals.services import approvals, reversals

VIEW, CHANGE = "referrals.view_commission", "referrals.change_commission"
STEPS = {
    "APPROVE": Step("Approve before its time", approvals.approve_commission, "Approved.", CHANGE, "primary"),
    "REVERSE": Step("Reverse", reversals.reverse_commission, "Reversed.", CHANGE, "danger"),
}
Status = Commission.Status
POSSIBLE = {Status.PENDING: ("APPROVE", "REVERSE"), Status.APPROVED: ("REVERSE",), Status.PAID: ("REVERSE",)}
REMARK = "On hold, oldest first. What nobody stops is approved by itself when its hold is over."


@page("queues/commissions/", name="commission_queue", title="Commissions", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """Commissions whose hold is not over."""
    rows = selectors.oldest_first(selectors.commissions(), by="created_at", after=request.GET.get("after", ""))
    return looks.queue(
        request,
        title="Commissions",
        remark=REMARK,
        headers=["Waiting", "Commission", "Referrer", "Client", "Level", "For", "Plan"],
        page=rows,
        rows=[
            [
                looks.age(row.created_at),
                anchor(reverse("admin:commission", args=[row.pk]), _amount(row)),
                looks.client(request, row.owner),
                looks.client(request, row.client),
                row.level,
                "A first deposit" if row.deposit_id else "A deal",
                str(row.plan),
            ]
            for row in rows.rows
        ],
    )


@page("queues/commissions/<uuid:commission_id>/", name="commission", title="Commission", permission=VIEW, methods=ACT)
def commission(request: HttpRequest, commission_id: UUID) -> HttpResponseBase:
    """One commission: for what it is, and what can be done about it."""
    if request.method == "POST":
        here = reverse("admin:commission", args=[commission_id])
        return decide(request, STEPS, ReasonForm(request.POST), back=here, commission_id=commission_id)
    related = ("owner", "client", "plan", "deal", "deposit", "transaction", "reversal")
    row = Commission.objects.select_related(*related).filter(pk=commission_id).first()
    if row is None:
        raise Http404
    staff = colleagues(row.approved_by, row.reversed_by)
    source = row.deal or row.deposit
    return looks.case(
        request,
        title=f"Commission of {_amount(row)}",
        back="commission_queue",
        facts=[
            ("Referrer", looks.client(request, row.owner)),
            ("Client", looks.client(request, row.client)),
            ("Level", row.level),
            ("Plan", link(request, row.plan, row.plan)),
            ("For", link(request, source, f"{'Deal' if row.deal else 'Deposit'} {source.pk}") if source else "–"),
            ("State", looks.status(row.status)),
            ("Accrued", f"{looks.stamp(row.created_at)}, {looks.age(row.created_at)} ago"),
            ("Approved", f"{looks.stamp(row.approved_at)} {staff.get(row.approved_by, '')}"),
            ("Paid", looks.stamp(row.paid_at)),
            ("Posted as", link(request, row.transaction, row.transaction) if row.transaction else "–"),
            ("Reversed", f"{looks.stamp(row.reversed_at)} {staff.get(row.reversed_by, '')}"),
            ("Reason", row.reason or "–"),
        ],
        form=ReasonForm(),
        possible=buttons(request, STEPS, *POSSIBLE.get(Status(row.status), ())),
    )


def _amount(row: Commission) -> str:
    return f"{spell(row.amount, row.currency)} {row.currency}"
