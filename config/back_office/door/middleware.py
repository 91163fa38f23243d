"""A session that nobody has used for a while, or that somebody has ended, is over at its next request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts import credentials, selectors
from accounts.models import StaffSession
from accounts.services import staff_sessions
from core.api.requests import client_address
from core.audit import Actor

#: How exactly `seen_at` is kept; more would be a write per page.
TOUCHED_EVERY = timedelta(minutes=1)


class StaffSessions:
    """
    Decides before the view does: what it logs out, the admin asks to log in again.

    A session is over when it was ended, when nothing was seen of it for `STAFF_IDLE_MINUTES`, and
    `SESSION_COOKIE_AGE` after its log-in, however busy it is. What is idle is reckoned from a time that is up to a
    minute old, and so never allowed to be longer than that.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(settings.LOGIN_REDIRECT_URL) and settings.SESSION_COOKIE_NAME in request.COOKIES:
            user: Any = request.user
            if user.is_authenticated and user.is_verified():
                self._judge(request, user)
        return self.get_response(request)

    def _judge(self, request: HttpRequest, user: Any) -> None:
        now = timezone.now()
        session = _session(request, user)
        if session.ended_at is not None:
            _log_out(request, "Your session has been ended.")
        elif (lapsed := _lapsed(session, now)) is not None:
            with suppress(staff_sessions.SessionNotFound):  # another request was told first
                nobody = Actor.system("staff_sessions")
                staff_sessions.end_session(session_id=session.pk, reason=lapsed, actor=nobody)
            _log_out(request, f"You have been logged out: {lapsed.lower()}.")
        elif now - session.seen_at >= TOUCHED_EVERY:
            staff_sessions.touch_session(session_id=session.pk)


def _session(request: HttpRequest, user: Any) -> StaffSession:
    key = request.session.session_key or ""
    return selectors.staff_session(credentials.session_digest(key)) or staff_sessions.adopt_session(
        owner=user.pk,
        key=key,
        user_agent=request.headers.get("User-Agent", ""),
        address=client_address(request),
    )


def _lapsed(session: StaffSession, now: datetime) -> str | None:
    """Why a session is over that nobody has ended."""
    if now - session.seen_at > timedelta(minutes=settings.STAFF_IDLE_MINUTES):
        return f"Idle for {settings.STAFF_IDLE_MINUTES} minutes"
    if now - session.started_at > timedelta(seconds=settings.SESSION_COOKIE_AGE):
        return f"Logged in for {settings.SESSION_COOKIE_AGE // 3600} hours"
    return None


def _log_out(request: HttpRequest, told: str) -> None:
    logout(request)
    messages.info(request, told)
