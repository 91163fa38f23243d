"""A log-in is kept under a digest of its key, so that who reads the table cannot come in with what they read."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts import credentials

#: What Django's column for keys holds.
_CHARACTERS = 40


def stored_key(key: str) -> str:
    """What stands in the table for a browser's key."""
    return credentials.session_digest(key).hex()[:_CHARACTERS]


class SessionStore(DatabaseStore):
    """Django's own, for which a key in the table is never a key in a cookie."""

    def _get_session_from_db(self) -> Session | None:
        known = Session.objects.filter(session_key=stored_key(self.session_key or ""), expire_date__gt=timezone.now())
        found = known.first()
        if found is None:
            self._session_key = None  # as Django's own does: it makes a new one rather than take over what it was given
        return found

    def exists(self, session_key: str) -> bool:
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        made = super().create_model_instance(data)
        made.session_key = stored_key(made.session_key)
        return made

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            Session.objects.filter(session_key=stored_key(key)).delete()
