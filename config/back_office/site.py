"""The admin's front door: a password, a second factor, and a slower answer for whoever keeps guessing."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import URLPattern, path
from django_otp import devices_for_user
from django_otp.admin import OTPAdminAuthenticationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import BASE_INPUT_CLASSES

from accounts import credentials
from core.api.requests import client_address
from core.errors import DomainError


class StaffLogIn(OTPAdminAuthenticationForm):
    """
    Password and code in one form; failures of either are counted together with those of the API.

    Who has one device need not choose it. The password is never written back into the page.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("username", "password", "otp_token"):
            self.fields[name].widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)
        self.fields["username"].widget.attrs["autofocus"] = ""
        self.fields["otp_token"].label = "Code"
        self.fields["otp_token"].widget.attrs |= {"autocomplete": "one-time-code", "inputmode": "numeric"}

    def clean(self) -> dict[str, Any]:
        name = str(self.cleaned_data.get("username", "")).lower()
        try:
            with credentials.counting_failures(name, client_address(self.request)):
                cleaned: dict[str, Any] = super().clean()
        except DomainError as refusal:
            raise ValidationError(refusal.detail, code=refusal.code) from refusal
        return cleaned

    def _chosen_device(self, user: Any) -> Any:
        devices = list(devices_for_user(user))
        return devices[0] if len(devices) == 1 else super()._chosen_device(user)

    def _update_form(self, user: Any) -> None:
        super()._update_form(user)
        self.fields["password"].widget.render_value = False


class DeskAdminSite(UnfoldAdminSite):
    """Only staff verified by a device get in; superusers are no exception."""

    login_form = StaffLogIn
    login_template = "back_office/login.html"
    index_title = "Back office"

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return super().has_permission(request) and bool(user.is_verified())

    def get_urls(self) -> list[URLPattern]:
        from config.back_office.pages import PAGES

        ours = [path(page.route, self.admin_view(page.open), name=page.name) for page in PAGES.values()]
        return [*ours, *super().get_urls()]
