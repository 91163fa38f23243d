"""The API has no cookies: what remembers a person from one page to the next stays out of its way."""

from __future__ import annotations

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_otp.middleware import OTPMiddleware

from config.back_office.door.middleware import StaffSessions
from core.middleware import GetResponse

#: Who acts is told by a token here, and nothing else; the API's document and its reader are pages.
NO_PAGES = "/api/v1/"


class ForPages:
    """Mixed with a middleware: what it does is done around pages, and the API passes a whole row of them at once."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)  # type: ignore[call-arg]  # the class it is mixed with takes it
        following = getattr(get_response, "__wrapped__", None)  # Django puts a net around each middleware
        self.behind_pages: GetResponse = following.behind_pages if isinstance(following, ForPages) else get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(NO_PAGES):
            return self.behind_pages(request)
        return super().__call__(request)  # type: ignore[misc, no-any-return]  # the class it is mixed with has one


class Session(ForPages, SessionMiddleware):
    """The staff's log-in."""


class Authentication(ForPages, AuthenticationMiddleware):
    """Who is logged in."""


class OTP(ForPages, OTPMiddleware):
    """With which second factor."""


class Message(ForPages, MessageMiddleware):
    """What the next page tells them."""


class Staff(ForPages, StaffSessions):
    """Whether that log-in still counts."""
