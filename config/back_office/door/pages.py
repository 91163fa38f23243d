"""Who works here, what they may do, and where they are logged in; one's own sessions are everybody's business."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html

from accounts import credentials, selectors
from accounts.models import User
from accounts.services import staff, staff_sessions
from config.back_office.door import secrets  # noqa: F401  # its page is registered by being imported
from config.back_office.door.forms import ReasonOnlyForm, RoleForm, TakeOnForm, take_refusal
from config.back_office.pages import page, show
from core.api.requests import actor_of
from core.models import AuditEvent

LOOK = ("GET", "HEAD")
ACT = (*LOOK, "POST")
ADMINISTER = "accounts.administer_staff"
ROWS_MAX = 100

# --- Sessions ---------------------------------------------------------------------------------------------------------


@page("sessions/", name="sessions", title="Sessions", permission="accounts.enter_back_office", methods=ACT)
def sessions(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if request.method == "POST":
        return _end_session(request)
    listed = selectors.staff_sessions()
    sees_all = user.has_perm("accounts.view_staffsession")
    if not sees_all:
        listed = listed.filter(owner=user)
    here = credentials.session_digest(request.session.session_key or "")
    return show(
        request,
        "door/sessions.html",
        title="Sessions" if sees_all else "Your sessions",
        here=next((row.pk for row in listed.filter(owner=user, digest=here)[:1]), None),
        open=listed.filter(ended_at__isnull=True)[:ROWS_MAX],
        ended=listed.filter(ended_at__isnull=False)[:ROWS_MAX],
        may_end_all=user.has_perm(ADMINISTER),
    )


def _end_session(request: HttpRequest) -> HttpResponse:
    """One's own for no reason that has to be given; somebody else's by who administers staff, for one that has."""
    user: Any = request.user
    form = EndForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a session.")
        return redirect("admin:sessions")
    session = selectors.staff_sessions().filter(pk=form.cleaned_data["session"]).first()
    is_own = session is not None and session.owner_id == user.pk
    if session is None or not (is_own or user.has_perm(ADMINISTER)):
        raise Http404  # the same for what is not there and for what is not theirs
    reason = form.cleaned_data["reason"] or ("Ended by its owner" if is_own else "")
    ended = take_refusal(
        form,
        lambda: staff_sessions.end_session(session_id=session.pk, reason=reason, actor=actor_of(request)),
    )
    _tell(request, form, "The session has ended." if ended is not None else None)
    return redirect("admin:sessions")


class EndForm(forms.Form):
    session = forms.UUIDField()
    reason = forms.CharField(max_length=500, required=False)


# --- Staff ------------------------------------------------------------------------------------------------------------


@page("staff/", name="staff", title="Staff", permission="accounts.view_staffsession", methods=LOOK)
def members(request: HttpRequest) -> HttpResponse:
    rows = [
        [
            format_html(
                '<a href="{}" class="text-primary-600">{}</a>', reverse("admin:colleague", args=[row.pk]), name
            ),
            row.email,
            _role(row),
            _second_factor(row),
            row.last_login.strftime("%Y-%m-%d %H:%M") if row.last_login else "never",
            "works here" if row.is_active else "has left",
        ]
        for row in selectors.staff_members()[:ROWS_MAX]
        for name in [row.name or row.email]
    ]
    headers = ["Name", "Email address", "Role", "Second factor", "Last log-in", "Status"]
    return show(
        request,
        "door/staff.html",
        title="Staff",
        table={"headers": headers, "rows": rows},
        may_administer=request.user.has_perm(ADMINISTER),
    )


@page("staff/new/", name="take_on", title="Take somebody on", permission=ADMINISTER, methods=ACT)
def take_on(request: HttpRequest) -> HttpResponse:
    form = TakeOnForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        told = form.cleaned_data
        password = randomness.token_urlsafe(15)
        user = take_refusal(
            form,
            lambda: staff.take_on_staff(
                email=told["email"],
                name=told["name"],
                role=told["role"],
                password=credentials.hash_password(password, email=told["email"], name=told["name"]),
                reason=told["reason"],
                actor=actor_of(request),
            ),
        )
        if user is not None:  # on the answer itself: a message would leave it in a cookie
            return show(request, "door/taken_on.html", title="Taken on", member=user, password=password)
    return show(request, "door/take_on.html", title="Take somebody on", form=form)


@page("staff/<uuid:user_id>/", name="colleague", title="Staff", permission="accounts.view_staffsession", methods=ACT)
def colleague(request: HttpRequest, user_id: UUID) -> HttpResponse:
    member = selectors.staff_members().filter(pk=user_id).first()
    if member is None:
        raise Http404
    if request.method == "POST":
        return _decide(request, member)
    me: Any = request.user
    decides = me.has_perm(ADMINISTER) and me.pk != member.pk and member.is_active and not member.is_superuser
    return show(
        request,
        "door/colleague.html",
        title=member.name or member.email,
        member=member,
        role=_role(member),
        second_factor=_second_factor(member),
        role_form=RoleForm(initial={"role": _role(member)}),
        reason_form=ReasonOnlyForm(),
        decides=decides,
        sessions=selectors.staff_sessions().filter(owner=member)[:20],
        events=AuditEvent.objects.filter(owner=member.pk).order_by("-id")[:50],
    )


#: What may be decided about a colleague, and what is said when it is done.
DECISIONS: dict[str, tuple[type[forms.Form], Callable[..., User], str]] = {
    "role": (RoleForm, staff.change_role, "The role has changed."),
    "second_factor": (ReasonOnlyForm, staff.reset_second_factor, "At the next log-in, a new device is set up."),
    "deactivate": (ReasonOnlyForm, staff.deactivate_staff, "Nothing opens for them any more."),
}


def _decide(request: HttpRequest, member: User) -> HttpResponse:
    if not request.user.has_perm(ADMINISTER):
        raise PermissionDenied
    if request.POST.get("decision") not in DECISIONS:
        raise Http404
    asked, decide, done = DECISIONS[request.POST["decision"]]
    form = asked(request.POST)
    decided = None
    if form.is_valid():
        terms = form.cleaned_data
        decided = take_refusal(form, lambda: decide(user_id=member.pk, **terms, actor=actor_of(request)))
    _tell(request, form, done if decided is not None else None)
    return redirect("admin:colleague", user_id=member.pk)


def _tell(request: HttpRequest, form: forms.Form, done: str | None) -> None:
    """What has been done, or every reason why not."""
    if done is not None:
        messages.success(request, done)
        return
    for field, errors in form.errors.items():
        for error in errors:
            messages.error(request, str(error) if field == "__all__" else f"{field.capitalize()}: {error}")


def _role(member: User) -> str:
    roles = [group.name for group in member.groups.all()]
    return ", ".join(roles) or ("superuser" if member.is_superuser else "none")


def _second_factor(member: Any) -> str:
    return "set up" if member.has_second_factor else "not set up"
