"""What a member of staff does about their own secrets, each for a fresh code of their authenticator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts import credentials, selectors
from accounts.services import second_factors
from config.back_office.door.forms import CodeForm, SetUpForm, take_refusal
from config.back_office.pages import page, show
from core.api.requests import actor_of, client_address

T = TypeVar("T")


@page(
    "recovery-codes/",
    name="recovery_codes",
    title="Recovery codes",
    permission="accounts.enter_back_office",
    methods=("GET", "HEAD", "POST"),
)
def recovery_codes(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code, actor = form.cleaned_data["code"], actor_of(request)
        made = _counted(
            request,
            form,
            lambda: second_factors.replace_recovery_codes(user_id=user.pk, code=code, actor=actor),
        )
        if made is not None:  # on the answer itself: a message would leave them in a cookie
            return show(request, "door/recovery_codes_new.html", title="Recovery codes", codes=made.codes)
    left = selectors.recovery_codes_left(user.pk)
    return show(request, "door/recovery_codes.html", title="Recovery codes", form=form, left=left)


def password(request: HttpRequest) -> HttpResponse:
    """Another password; it ends every session of theirs, this one included."""
    user: Any = request.user
    form = SetUpForm(request.POST or None, about={"email": user.email, "name": user.name})
    if request.method == "POST" and form.is_valid():
        actor = actor_of(request)
        changed = _counted(
            request,
            form,
            lambda: second_factors.change_password(
                user_id=user.pk,
                code=form.cleaned_data["code"],
                password=form.hashed_password(),
                reason="Password changed",
                actor=actor,
            ),
        )
        if changed is not None:
            messages.info(request, "Your password has been changed; log in with the new one.")
            return redirect("admin:login")
    return show(request, "door/password.html", title="Change your password", form=form)


def _counted(request: HttpRequest, form: forms.Form, act: Callable[[], T]) -> T | None:
    """A wrong code counts as a wrong log-in: who has found a screen unlocked does not get to guess."""
    user: Any = request.user

    def counted() -> T:
        with credentials.counting_failures(user.email, client_address(request)):
            return act()

    return take_refusal(form, counted)
