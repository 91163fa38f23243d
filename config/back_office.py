"""The admin's front door: a password, a second factor, and a slower answer for whoever keeps guessing."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django_otp import devices_for_user
from django_otp.admin import OTPAdminAuthenticationForm, OTPAdminSite

from accounts import credentials
from core.api.requests import client_address
from core.errors import DomainError


class StaffLogIn(OTPAdminAuthenticationForm):
    """
    Password and code in one form; failures of either are counted together with those of the API.

    Who has one device need not choose it. The password is never written back into the page.
    """

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


class DeskAdminSite(OTPAdminSite):
    """Only staff verified by a device get in; superusers are no exception."""

    login_form = StaffLogIn
    site_header = "Dealing Desk"
    site_title = "Dealing Desk"
    index_title = "Back office"
    site_url = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
