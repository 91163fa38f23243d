"""A member of staff at the admin's forms, with password and second factor, as a browser would do it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.cookiejar
import re
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
from html import unescape

TOTP_STEP_SECONDS = 30
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_COMPLAINTS = "errorlist|errornote|error"
_ERRORS = re.compile(rf'<(ul|li|p|div) class="(?:{_COMPLAINTS})[^"]*"[^>]*>(.*?)</\1>', re.DOTALL)


class BackOfficeError(Exception):
    """The admin did not do what was asked; the message is what it showed."""


class BackOffice:
    """A signed-in session in the admin."""

    def __init__(self, admin_url: str) -> None:
        self.url = admin_url.rstrip("/")
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def log_in(self, *, email: str, password: str, totp_secret: str) -> None:
        """
        Sign in with all three factors.

        A code works once, so if somebody has just used this half minute's, the next one is waited for.

        :raises BackOfficeError: if the form comes back
        """
        for attempt in range(2):
            form = {"username": email, "password": password, "otp_token": totp(totp_secret)}
            page = self.submit(f"/login/?next={urllib.parse.urlsplit(self.url).path}/", form)
            if "otp_token" not in page:
                return
            if attempt == 0:
                time.sleep(TOTP_STEP_SECONDS - time.time() % TOTP_STEP_SECONDS + 0.5)
        raise BackOfficeError(_complaint(page))

    def act(self, path: str, action: str, row: str, **fields: str) -> None:
        """
        Run one of a list's actions on one row, giving what its form asks for.

        :raises BackOfficeError: if the admin complains
        """
        form = {"action": action, "_selected_action": row, "index": "0", **fields}
        page = self.submit(path, form)
        if complaint := _complaint(page):
            raise BackOfficeError(complaint)

    def submit(self, path: str, form: dict[str, str]) -> str:
        """Fetch a page for its CSRF token, post the form to it, and return the page that follows."""
        token = _TOKEN.search(self._open(path))
        if token is None:
            raise BackOfficeError(f"no form at {path}")
        return self._open(path, form | {"csrfmiddlewaretoken": token[1]})

    def _open(self, path: str, form: dict[str, str] | None = None) -> str:
        url = f"{self.url}{path}"
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(url, data, {"Referer": url})
        try:
            with self._opener.open(request, timeout=30) as answer:
                text: str = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise BackOfficeError(f"{url} answered {error.code}") from error
        return text


def totp(secret: str, *, now: float | None = None) -> str:
    """The current six-digit code of a base32 secret (RFC 6238, SHA-1, 30 s)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    counter = int((time.time() if now is None else now) // TOTP_STEP_SECONDS)
    digest = hmac.new(key, struct.pack(">Q", counter), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    (number,) = struct.unpack(">I", digest[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


def _complaint(page: str) -> str:
    """What the page complains about, as text; empty if it does not."""
    found = [re.sub(r"<[^>]+>", " ", block) for _, block in _ERRORS.findall(page)]
    return unescape(" ".join(" ".join(found).split()))
