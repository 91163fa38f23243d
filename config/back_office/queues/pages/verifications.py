"""Who a client is: what they handed in, and whether that is enough."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse

from accounts.models import Verification
from accounts.services import verifications
from accounts.services.verifications import REVIEWS
from config.back_office.cells import Table, anchor, colleague
from config.back_office.masking import may_see_personal_data
from config.back_office.pages import page
from config.back_office.queues import looks, selectors
from config.back_office.queues.deciding import ACT, ReasonForm, Step, buttons, decide

VIEW, CHANGE = "accounts.view_verification", "accounts.change_verification"
Status = Verification.Status


def _step(outcome: Status, title: str, done: str, variant: str) -> Step:
    return Step(title, partial(verifications.review_verification, outcome=outcome), done, CHANGE, variant)


STEPS: dict[str, Step] = {
    Status.IN_REVIEW: _step(Status.IN_REVIEW, "Take into review", "Taken into review.", "primary"),
    Status.APPROVED: _step(Status.APPROVED, "Approve", "Approved; the live wallets are open.", "primary"),
    Status.ACTION_REQUIRED: _step(
        Status.ACTION_REQUIRED, "Ask for more: the client reads the reason", "Sent back to the client.", "default"
    ),
    Status.REJECTED: _step(Status.REJECTED, "Reject", "Rejected.", "danger"),
}
EARLIER_MAX = 20


@page("queues/verifications/", name="verification_queue", title="Verifications", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """What has been handed in and not decided."""
    rows = selectors.oldest_first(selectors.verifications(), by="submitted_at", after=request.GET.get("after", ""))
    return looks.queue(
        request,
        title="Verifications",
        remark="Handed in and not decided, oldest first.",
        headers=["Waiting", "Client", "Country", "State", "Documents", "Looked at by"],
        page=rows,
        rows=[
            [
                looks.age(row.submitted_at),
                anchor(reverse("admin:verification", args=[row.pk]), row.owner.name or "No name"),
                row.owner.country or "–",
                looks.status(row.status),
                ", ".join(str(document.get("kind", "?")) for document in row.documents[:5]) or "–",
                colleague(row.reviewed_by),
            ]
            for row in rows.rows
        ],
    )


@page(
    "queues/verifications/<uuid:verification_id>/",
    name="verification",
    title="Verification",
    permission=VIEW,
    methods=ACT,
)
def verification(request: HttpRequest, verification_id: UUID) -> HttpResponseBase:
    """One submission: who they say they are, and what shows it."""
    if request.method == "POST":
        here = reverse("admin:verification", args=[verification_id])
        return decide(request, STEPS, ReasonForm(request.POST), back=here, verification_id=verification_id)
    row = Verification.objects.select_related("owner", "reviewed_by").filter(pk=verification_id).first()
    if row is None:
        raise Http404
    in_clear, born = may_see_personal_data(request), row.owner.date_of_birth
    return looks.case(
        request,
        title=f"Verification of {row.owner.name or 'a client'}",
        back="verification_queue",
        facts=[
            ("Client", looks.client(request, row.owner)),
            ("Country", row.owner.country or "–"),
            ("Born", "–" if born is None else born if in_clear else "••••-••-••"),
            ("State", looks.status(row.status)),
            ("Handed in", f"{looks.stamp(row.submitted_at)}, {looks.age(row.submitted_at)} ago"),
            ("Looked at by", colleague(row.reviewed_by)),
            ("Last looked at", looks.stamp(row.reviewed_at)),
            ("Reason", row.reason or "–"),
        ],
        form=ReasonForm(),
        possible=buttons(request, STEPS, *REVIEWS.get(row.status, ())),
        tables=[
            ("Documents", Table(headers=["Kind", "Reference", "Handed in"], rows=_documents(row, in_clear=in_clear))),
            ("Earlier ones", Table(headers=["State", "Handed in", "Decided by", "Reason"], rows=_earlier(row))),
        ],
    )


def _documents(row: Verification, *, in_clear: bool) -> list[list[Any]]:
    """Kind, reference and day of each; a passport's number is not everybody's to read."""
    return [
        [
            document.get("kind", "?"),
            document.get("reference", "–") if in_clear else "•••••",
            str(document.get("submitted_at", "–"))[:16].replace("T", " "),
        ]
        for document in row.documents
    ]


def _earlier(row: Verification) -> list[list[Any]]:
    others = Verification.objects.select_related("reviewed_by").filter(owner_id=row.owner_id, pk__lt=row.pk)
    return [
        [looks.status(other.status), looks.stamp(other.submitted_at), colleague(other.reviewed_by), other.reason]
        for other in others.order_by("-pk")[:EARLIER_MAX]
    ]
