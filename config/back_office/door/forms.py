"""What the door asks of people; each answer goes to one service, and a refusal comes back beside the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts import credentials, rules
from accounts.credentials import PasswordHash
from core.errors import DomainError

T = TypeVar("T")


def take_refusal(form: forms.Form, act: Callable[[], T]) -> T | None:
    """What `act` returns; or None, with what it was refused for written on the form."""
    try:
        return act()
    except DomainError as refusal:
        told = [str(error["message"]) for error in refusal.errors] or [refusal.detail]
        for text in told:
            form.add_error(None, text)
        return None


def reason_field() -> forms.CharField:
    """Asked for by whatever decides about somebody; it is kept with the deed."""
    return forms.CharField(max_length=500, label="Reason", widget=UnfoldAdminTextInputWidget())


def _role_field() -> forms.ChoiceField:
    return forms.ChoiceField(choices=[(role, role) for role in rules.ROLES], widget=UnfoldAdminSelectWidget())


def _password_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=128,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )


class CodeForm(forms.Form):
    """A fresh code of the authenticator: who has only found a screen unlocked has none."""

    code = forms.CharField(
        max_length=6,
        label="Code from your authenticator",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class SetUpForm(CodeForm):
    """A code that shows the secret has arrived, and a password that nobody else knows."""

    password = _password_field("New password")
    again = _password_field("New password again")

    def __init__(self, *args: Any, about: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.about = about

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("password") != cleaned.get("again"):
            self.add_error("again", "The two passwords differ.")
        return cleaned

    def hashed_password(self) -> PasswordHash:
        """:raises PasswordTooWeak: if it is short, common or like their own data"""
        return credentials.hash_password(self.cleaned_data["password"], **self.about)


class TakeOnForm(forms.Form):
    """Somebody who starts to work here."""

    email = forms.EmailField(max_length=254, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}))
    name = forms.CharField(max_length=140, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}))
    role = _role_field()
    reason = reason_field()


class RoleForm(forms.Form):
    role = _role_field()
    reason = reason_field()


class ReasonOnlyForm(forms.Form):
    reason = reason_field()
