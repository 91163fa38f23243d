"""From the log-in page to the first page inside: with both factors at once, or by way of setting up the second."""

from __future__ import annotations

import re
from base64 import b32encode
from typing import Any, NamedTuple
from uuid import UUID

import segno
import structlog
from django.conf import settings
from django.contrib.admin import site
from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django_otp.admin import OTPAdminAuthenticationForm
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import BASE_INPUT_CLASSES

from accounts import credentials, selectors
from accounts.models import StaffSession, User
from accounts.services import second_factors, staff_sessions
from config.back_office.door.forms import SetUpForm, take_refusal
from core.api.requests import actor_of, client_address
from core.audit import Actor, ActorKind
from core.errors import DomainError

logger = structlog.get_logger(__name__)

#: Under which a session that may do nothing but set up a device remembers whose.
SET_UP = "set_up"

_CODE = re.compile(r"[0-9]{6}")


# --- Log-in -----------------------------------------------------------------------------------------------------------


class StaffLogIn(OTPAdminAuthenticationForm):
    """
    Password and code in one form; failures of either are counted together with those of the API.

    The code is the authenticator's, or one of the recovery codes. Who has no second factor passes with the password
    alone (`needs_set_up`), which the view takes for no log-in. The password is never written back into the page.
    """

    otp_error_messages = OTPAdminAuthenticationForm.otp_error_messages | {
        "token_required": "Enter the code that your authenticator shows, or a recovery code.",
        "invalid_token": "This code is not right, or it has been used.",
        "device_required": "This code is not right, or it has been used.",
    }
    needs_set_up = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("username", "password", "otp_token"):
            self.fields[name].widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)
        self.fields["username"].label = "Email address"
        self.fields["username"].widget.attrs["autofocus"] = ""
        self.fields["otp_token"].label = "Code"
        self.fields["otp_token"].help_text = "From your authenticator, or a recovery code. Empty at your first log-in."
        self.fields["otp_token"].widget.attrs |= {"autocomplete": "one-time-code", "maxlength": 20}

    def clean(self) -> dict[str, Any]:
        name = str(self.cleaned_data.get("username", "")).lower()
        try:
            with credentials.counting_failures(name, client_address(self.request)):
                cleaned: dict[str, Any] = super().clean()
        except DomainError as refusal:
            raise ValidationError(refusal.detail, code=refusal.code) from refusal
        return cleaned

    def clean_otp(self, user: Any) -> None:
        if user is not None and not TOTPDevice.objects.filter(user=user, confirmed=True).exists():
            self.needs_set_up = True
        else:
            super().clean_otp(user)

    def _chosen_device(self, user: Any) -> Any:
        """The device that such a code would be of, locked: two requests at once do not spend one code twice."""
        kind = TOTPDevice if _CODE.fullmatch(self.cleaned_data.get("otp_token") or "") else StaticDevice
        devices = kind.objects.filter(user=user, confirmed=True)
        return devices.select_for_update(no_key=True).order_by("-pk").first()

    def _verify_token(self, user: Any, token: str, device: Any = None) -> Any:
        stored = credentials.recovery_digest(token) if isinstance(device, StaticDevice) else token
        return super()._verify_token(user, stored, device)

    def _update_form(self, user: Any) -> None:
        super()._update_form(user)
        self.fields["password"].widget.render_value = False


class LogInView(LoginView):
    """Django's, and what it does not know: the list of sessions, what was refused, and who has yet to set up."""

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.get_user()
        if form.needs_set_up:
            try:
                return _begin_set_up(self.request, user)
            except DomainError as refusal:
                form.add_error(None, refusal.detail)
                return self.form_invalid(form)
        answer = super().form_valid(form)  # with a session key that nobody could have known before
        _put_on_the_list(self.request, user)
        return answer

    def form_invalid(self, form: Any) -> HttpResponse:
        why = next((error.code for error in form.non_field_errors().as_data()), None)
        if why == "RATE_LIMITED":  # written down each time, guessing would fill the audit trail
            logger.warning("accounts.staff.log_in_throttled")
        elif why is not None:
            email = str(form.cleaned_data.get("username", ""))
            nobody = Actor(Actor.system().id, ActorKind.SYSTEM, _request_id(self.request), client_address(self.request))
            staff_sessions.refuse_log_in(email=email, why=why, actor=nobody)
        return super().form_invalid(form)


def _put_on_the_list(request: HttpRequest, user: User) -> StaffSession:
    key = request.session.session_key
    assert key is not None, "a log-in makes one"
    return staff_sessions.open_session(
        owner=user.pk,
        key=key,
        user_agent=request.headers.get("User-Agent", ""),
        device=type(getattr(user, "otp_device", None)).__name__,
        actor=actor_of(request),
    )


def leave(request: HttpRequest) -> None:
    """Take the session that is being logged out off the list."""
    session = selectors.staff_session(credentials.session_digest(request.session.session_key or ""))
    if session is not None and session.ended_at is None:
        staff_sessions.end_session(session_id=session.pk, reason="Logged out", actor=actor_of(request))


# --- Set-up -----------------------------------------------------------------------------------------------------------


class Newcomer(NamedTuple):
    """Who has given their password and has a device to set up; nobody else's word about it counts."""

    user: User
    device: TOTPDevice


def _begin_set_up(request: HttpRequest, user: User) -> HttpResponse:
    """Not logged in: a session under a new key that the set-up page knows, and for every other page is nobody's."""
    device = second_factors.begin_set_up(user_id=user.pk, actor=_as_staff(request, user))
    request.session.flush()
    request.session[SET_UP] = {
        "user": str(user.pk),
        "device": device.pk,
        "proof": user.get_session_auth_hash(),  # a password that was changed since has proven nothing
        "at": timezone.now().timestamp(),
    }
    return redirect("admin:set_up")


def set_up(request: HttpRequest) -> HttpResponse:
    """Scan, confirm with a code, choose a password; then ten recovery codes, once, and the way in."""
    newcomer = _newcomer(request)
    if newcomer is None:
        return redirect("admin:login")
    user, device = newcomer
    form = SetUpForm(request.POST or None, about={"email": user.email, "name": user.name})
    if request.method == "POST" and form.is_valid():
        actor = _as_staff(request, user)
        made = take_refusal(
            form,
            lambda: second_factors.finish_set_up(
                user_id=user.pk,
                device_id=device.pk,
                code=form.cleaned_data["code"],
                password=form.hashed_password(),
                actor=actor,
            ),
        )
        if made is not None:
            return _enter(request, device, made)
    context = {
        **site.each_context(request),
        "title": "Set up your second factor",
        "site_url": None,
        "form": form,
        "email": user.email,
        "qr_code": segno.make(device.config_url, error="m").svg_data_uri(scale=5, border=3, light="white"),
        "secret": _in_fours(device),
    }
    return TemplateResponse(request, "door/set_up.html", context)


def _enter(request: HttpRequest, device: TOTPDevice, made: second_factors.RecoveryCodes) -> HttpResponse:
    """Log in, now that both factors are proven; the key changes again, and what set-up remembered is gone."""
    user: Any = made.user
    request.session.flush()
    device.confirmed = True
    user.otp_device = device
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    _put_on_the_list(request, user)
    context = {**site.each_context(request), "title": "Your recovery codes", "codes": made.codes}
    return TemplateResponse(request, "door/recovery_codes_new.html", context)


def _newcomer(request: HttpRequest) -> Newcomer | None:
    known = request.session.get(SET_UP)
    if known is None or timezone.now().timestamp() - known["at"] > 60 * settings.STAFF_IDLE_MINUTES:
        return None
    user = User.objects.filter(pk=UUID(known["user"]), is_active=True, is_staff=True).first()
    if user is None or not constant_time_compare(known["proof"], user.get_session_auth_hash()):
        return None
    device = TOTPDevice.objects.filter(pk=known["device"], user=user, confirmed=False).first()
    return None if device is None else Newcomer(user, device)


def _in_fours(device: TOTPDevice) -> str:
    """The secret as authenticators take it by hand."""
    text = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def _as_staff(request: HttpRequest, user: User) -> Actor:
    return Actor(user.pk, ActorKind.STAFF, _request_id(request), client_address(request))


def _request_id(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))
