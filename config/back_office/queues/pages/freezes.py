"""What is stopped for whom, by whom and until when; whoever placed a freeze does not lift it."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import Freeze, User
from accounts.services import freezes
from config.back_office.cells import anchor, colleagues
from config.back_office.pages import page, show, told
from config.back_office.queues import looks, selectors
from config.back_office.queues.deciding import ACT, ReasonForm, Step, buttons, decide
from core.api.requests import actor_of

VIEW, PLACE, LIFT = "accounts.view_freeze", "accounts.add_freeze", "accounts.change_freeze"
STEPS = {"LIFT": Step("Lift", freezes.lift_freeze, "Lifted.", LIFT, "primary")}


class FreezeForm(ReasonForm):
    """Who is stopped, in what, until when, and why."""

    client = forms.CharField(
        max_length=254, label="Client", widget=UnfoldAdminTextInputWidget, help_text="Their email address, or their id."
    )
    scope = forms.ChoiceField(
        choices=[
            (Freeze.Scope.LOGIN, "Log-in: ends every session"),
            (Freeze.Scope.TRADING, "Trading"),
            (Freeze.Scope.DEPOSITS, "Deposits"),
            (Freeze.Scope.WITHDRAWALS, "Withdrawals and transfers out"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Until (UTC)",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text="Left empty, it stays until somebody lifts it.",
    )
    field_order = ("client", "scope", "expires_at", "reason")

    def clean_client(self) -> User:
        """:raises ValidationError: if nobody is known by this"""
        text = self.cleaned_data["client"].strip()
        try:
            found = User.objects.filter(pk=UUID(text)).first()
        except ValueError:
            found = User.objects.with_email(text).first()
        if found is None:
            raise forms.ValidationError("Nobody is known by this.")
        return found


@page("queues/freezes/", name="freezes", title="Freezes", permission=VIEW)
def queue(request: HttpRequest) -> HttpResponseBase:
    """What is in force."""
    rows = selectors.oldest_first(selectors.freezes(), by="placed_at", after=request.GET.get("after", ""))
    staff = colleagues(*(row.placed_by for row in rows.rows))
    return looks.queue(
        request,
        title="Freezes",
        remark="In force, oldest first. Whoever placed one does not lift it.",
        headers=["Stands", "Client", "Frozen", "Until", "Placed by", "Reason"],
        page=rows,
        rows=[
            [
                looks.age(row.placed_at),
                looks.client(request, row.owner),
                anchor(reverse("admin:freeze", args=[row.pk]), row.scope),
                looks.stamp(row.expires_at) if row.expires_at else "lifted",
                staff.get(row.placed_by, "–"),
                row.reason,
            ]
            for row in rows.rows
        ],
        act=("Place a freeze", reverse("admin:freeze_new")) if request.user.has_perm(PLACE) else None,
    )


@page("queues/freezes/new/", name="freeze_new", title="Place a freeze", permission=PLACE, methods=ACT)
def place(request: HttpRequest) -> HttpResponseBase:
    """Stop one thing for one client; `?client=` fills in whom."""
    form = FreezeForm(request.POST or None, initial={"client": request.GET.get("client", "")})
    if request.method == "POST" and form.is_valid():
        given: dict[str, Any] = form.cleaned_data
        act = partial(freezes.place_freeze, owner=given.pop("client").pk, **given, actor=actor_of(request))
        made = told(request, act, "Frozen.")
        if made is not None:
            return HttpResponseRedirect(reverse("admin:freeze", args=[made.pk]))
    return show(request, "queues/form.html", title="Place a freeze", form=form, button="Freeze", variant="danger")


@page("queues/freezes/<uuid:freeze_id>/", name="freeze", title="Freeze", permission=VIEW, methods=ACT)
def freeze(request: HttpRequest, freeze_id: UUID) -> HttpResponseBase:
    """One freeze, and its end."""
    if request.method == "POST":
        here = reverse("admin:freeze", args=[freeze_id])
        return decide(request, STEPS, ReasonForm(request.POST), back=here, freeze_id=freeze_id)
    row = Freeze.objects.select_related("owner").filter(pk=freeze_id).first()
    if row is None:
        raise Http404
    staff = colleagues(row.placed_by, row.lifted_by)
    is_open = row.lifted_at is None
    return looks.case(
        request,
        title=f"Freeze of {row.scope.lower()}",
        back="freezes",
        facts=[
            ("Client", looks.client(request, row.owner)),
            ("Frozen", row.scope),
            ("Reason", row.reason),
            ("Placed by", staff.get(row.placed_by, "–")),
            ("Placed", looks.stamp(row.placed_at)),
            ("Until", looks.stamp(row.expires_at) if row.expires_at else "Lifted"),
            ("Lifted by", staff.get(row.lifted_by, "–")),
            ("Lifted", looks.stamp(row.lifted_at)),
            ("Why", row.lift_reason or "–"),
        ],
        form=ReasonForm(),
        possible=buttons(request, STEPS, *(("LIFT",) if is_open else ())),
        notes=["You placed this freeze; somebody else lifts it."]
        if is_open and row.placed_by == request.user.pk
        else [],
    )
