"""The API has no cookies: what remembers a person from one page to the next stays out of its way."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_otp.middleware import OTPMiddleware

#: Who acts is told by a token here, and nothing else; the API's document and its reader are pages.
NO_PAGES = "/api/v1/"


class ForPages:
    """Mixed with a middleware: what it does is done around pages."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(NO_PAGES):
            response: HttpResponseBase = self.get_response(request)
            return response
        return super().__call__(request)  # type: ignore[misc, no-any-return]  # the class it is mixed with has one


class Session(ForPages, SessionMiddleware):
    """The staff's log-in."""


class Authentication(ForPages, AuthenticationMiddleware):
    """Who is logged in."""


class OTP(ForPages, OTPMiddleware):
    """With which second factor."""


class Message(ForPages, MessageMiddleware):
    """What the next page tells them."""
