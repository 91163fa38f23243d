"""Money on its way out: oldest first, with what speaks against each, and two people for the large ones."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString

from config.back_office.cells import Table, anchor, colleague, label, link
from config.back_office.pages import page
from config.back_office.queues import looks, risk, selectors
from config.back_office.queues.deciding import ACT, BankReferenceForm, Step, buttons, decide
from core.money import show as spell
from wallets.models import Withdrawal
from wallets.services import withdrawals
from wallets.services.withdrawals import TRANSITIONS

VIEW, CHANGE = "wallets.view_withdrawal", "wallets.change_withdrawal"
SENDING = ("reason", "bank_reference")
STEPS = {
    "REVIEW": Step("Take into review", withdrawals.start_review, "Taken into review.", CHANGE, "primary"),
    "APPROVE": Step("Approve", withdrawals.approve_withdrawal, "Your approval is recorded.", CHANGE, "primary"),
    "SEND": Step("Mark as sent", withdrawals.mark_sent, "Marked as sent.", CHANGE, "primary", SENDING),
    "COMPLETE": Step("Complete", withdrawals.complete_withdrawal, "Completed and posted.", CHANGE, "primary", SENDING),
    "FAIL": Step("Fail", withdrawals.fail_withdrawal, "Failed; the hold is released.", CHANGE, "danger"),
    "REJECT": Step("Reject", withdrawals.reject_withdrawal, "Rejected; the hold is released.", CHANGE, "danger"),
}
REMARK = "Oldest first. Risk flags are about this client alone; open a withdrawal to read what each found."


@page("queues/withdrawals/", name="withdrawal_queue", title="Withdrawals", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """What is not paid yet, with its risk flags."""
    chosen = request.GET.get("status", "")
    rows = selectors.oldest_first(selectors.withdrawals(chosen), by="created_at", after=request.GET.get("after", ""))
    facts = risk.facts_of([row.pk for row in rows.rows])
    return looks.queue(
        request,
        title="Withdrawals",
        remark=REMARK,
        headers=["Waiting", "Withdrawal", "Client", "State", "Two people", "First approval", "Flags"],
        page=rows,
        rows=[
            [
                looks.age(row.created_at),
                anchor(reverse("admin:withdrawal", args=[row.pk]), _amount(row)),
                looks.client(request, row.owner),
                looks.status(row.status),
                "Two" if row.two_person else "One",
                colleague(row.approved_by),
                _flags(row, facts[row.pk]),
            ]
            for row in rows.rows
        ],
        tabs=[
            (state.replace("_", " ").capitalize() if state else "All", f"?status={state}", state == chosen)
            for state in ("", *(status.value for status in Withdrawal.HOLDING))
        ],
    )


@page("queues/withdrawals/<uuid:withdrawal_id>/", name="withdrawal", title="Withdrawal", permission=VIEW, methods=ACT)
def withdrawal(request: HttpRequest, withdrawal_id: UUID) -> HttpResponseBase:
    """One withdrawal: every check spelled out, and what can be done about it."""
    if request.method == "POST":
        here = reverse("admin:withdrawal", args=[withdrawal_id])
        return decide(request, STEPS, BankReferenceForm(request.POST), back=here, withdrawal_id=withdrawal_id)
    related = ("owner", "wallet", "bank_account", "transaction", "reviewed_by", "approved_by", "second_approved_by")
    row = Withdrawal.objects.select_related(*related).filter(pk=withdrawal_id).first()
    if row is None:
        raise Http404
    checks = risk.checks(row, risk.facts_of([row.pk])[row.pk])
    found = [[check.title, check.finding, _flag(check) if check.variant else ""] for check in checks]
    return looks.case(
        request,
        title=f"Withdrawal of {_amount(row)}",
        back="withdrawal_queue",
        facts=[
            ("Client", looks.client(request, row.owner)),
            ("Wallet", link(request, row.wallet, row.wallet.number)),
            ("To", f"{row.bank_account.holder}, {row.bank_account}"),
            ("State", looks.status(row.status)),
            ("Asked for", f"{looks.stamp(row.created_at)}, {looks.age(row.created_at)} ago"),
            ("Taken into review by", colleague(row.reviewed_by)),
            ("Approved by", colleague(row.approved_by)),
            ("Second approval by", colleague(row.second_approved_by) if row.two_person else "Not needed"),
            ("Sent", looks.stamp(row.sent_at)),
            ("Bank reference", row.bank_reference or "–"),
            ("Posted as", link(request, row.transaction, row.transaction) if row.transaction else "–"),
            ("Reason it ended", row.reason or "–"),
        ],
        form=BankReferenceForm(),
        possible=buttons(
            request, STEPS, *(step.value for step, way in TRANSITIONS.items() if row.status in way.sources)
        ),
        notes=_notes(request, row),
        tables=[("What speaks for and against it", Table(headers=["Check", "Finding", "Flag"], rows=found))],
    )


def _notes(request: HttpRequest, row: Withdrawal) -> list[str]:
    if not row.two_person or row.status not in {Withdrawal.Status.REQUESTED, Withdrawal.Status.IN_REVIEW}:
        return []
    if row.approved_by is None:
        return ["Its size takes two different people: the first approval leaves it in review."]
    if row.approved_by_id == request.user.pk:
        return ["You gave the first of two approvals; the second is somebody else's to give."]
    return [f"{colleague(row.approved_by)} gave the first of two approvals; yours would be the second."]


def _amount(row: Withdrawal) -> str:
    return f"{spell(row.amount, row.currency)} {row.currency}"


def _flags(row: Withdrawal, facts: risk.Facts) -> SafeString:
    return looks.side_by_side([_flag(check) for check in risk.checks(row, facts) if check.variant])


def _flag(check: risk.Check) -> SafeString:
    return label(check.title, check.variant, title=check.finding)
