"""A decision is a button, a reason and one service: what the service refuses is said in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from config.back_office.pages import told
from core.api.requests import actor_of

#: Methods of a page that shows something and takes a decision about it.
ACT = ("GET", "HEAD", "POST")


class ReasonForm(forms.Form):
    """Why; whether that is enough is the service's to say."""

    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "required": True}),
        help_text="It stays on record.",
    )


class BankReferenceForm(ReasonForm):
    """Why, and how the bank calls it."""

    bank_reference = forms.CharField(
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text="How the bank calls the payment, when it is marked as sent or completed.",
    )


class PaymentReferenceForm(ReasonForm):
    """Why, and under which reference the money came."""

    reference = forms.CharField(
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text="How the bank statement calls the payment; one reference credits one deposit.",
    )


@dataclass(frozen=True, slots=True)
class Step:
    """A decision that a page offers: its button, its service, what that takes of the form, and the permission."""

    title: str
    act: Callable[..., object]
    done: str
    permission: str
    variant: str = "default"
    takes: tuple[str, ...] = ("reason",)


@dataclass(frozen=True, slots=True)
class Button:
    """A step as a form offers it."""

    name: str
    title: str
    variant: str


def buttons(request: HttpRequest, steps: Mapping[str, Step], *possible: str) -> list[Button]:
    """The possible steps that this member of staff may take, in the order they are listed."""
    return [
        Button(name, step.title, step.variant)
        for name, step in steps.items()
        if name in possible and request.user.has_perm(step.permission)
    ]


def decide(
    request: HttpRequest, steps: Mapping[str, Step], form: forms.Form, *, back: str, **subject: Any
) -> HttpResponseRedirect:
    """
    Take the step whose button was pressed, say what came of it, and go back.

    :raises BadRequest: if there is no such step
    :raises PermissionDenied: if this member of staff may not take it
    """
    step = steps.get(request.POST.get("step", ""))
    if step is None:
        raise BadRequest("There is no such step.")
    if not request.user.has_perm(step.permission):
        raise PermissionDenied
    if not form.is_valid():
        for errors in form.errors.values():
            messages.error(request, " ".join(map(str, errors)))
        return HttpResponseRedirect(back)
    given = {name: form.cleaned_data[name] for name in step.takes}
    told(request, lambda: step.act(**subject, **given, actor=actor_of(request)), step.done)
    return HttpResponseRedirect(back)
