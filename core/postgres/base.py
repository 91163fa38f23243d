"""Django's PostgreSQL backend, plus what money must know: did COMMIT arrive, and is this still the same transaction?"""

from __future__ import annotations

import functools
import itertools
import re
import select
import time
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from django.db.utils import InterfaceError, OperationalError
from psycopg import RawCursor


class CommitOutcomeUnknown(OperationalError):
    """The link broke while COMMIT was under way: the transaction is either wholly there or wholly not."""


def is_link_lost(error: BaseException) -> bool:
    """Whether the error says that the server or the way to it is gone, rather than that the SQL was refused."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))


_serials = itertools.count(1)

#: A kept connection's server is asked no more often than this whether it is there.
ASK_EVERY_SECONDS = 5.0

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(%))")


@functools.cache
def numbered(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """
    A statement as the server numbers its parameters (`$1` for `%(owner)s`), and their names in that order.

    psycopg does the same, but keeps what it found only of statements below 4,096 characters and 51 parameters: of a
    posting it would read every character again each time.
    """
    names: dict[str, int] = {}

    def number(placeholder: re.Match[str]) -> str:
        name = placeholder[1]
        return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(number, sql).encode(), tuple(names)


class PreparedCursor(RawCursor[tuple[Any, ...]]):
    """For statements that are constants of ours, with named parameters: bound, and soon prepared, on the server."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> PreparedCursor:
        text, names = numbered(query)
        return super().execute(text, [params[name] for name in names], **options)


class DatabaseWrapper(base.DatabaseWrapper):
    """Used as `ENGINE = "core.postgres"`."""

    #: Names this connection's newest transaction; no two transactions of a process share one, on whatever connection.
    transaction_serial = 0
    kept_cursor: PreparedCursor | None = None
    asked_at = 0.0

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if not autocommit:
            self.transaction_serial = next(_serials)

    def _commit(self) -> None:
        # Everywhere else a lost link means "nothing happened". Here it means "nobody knows", and only this method can
        # tell the two apart: by the time the exception reaches a caller, the phase is gone.
        try:
            super()._commit()  # type: ignore[misc]  # the stubs leave it out
        except (OperationalError, InterfaceError) as error:
            if is_link_lost(error):
                raise CommitOutcomeUnknown(*error.args) from error
            raise

    def is_usable(self) -> bool:
        """
        Whether the server is still there; Django asks at the first use of a kept connection in each request.

        The server was asked a moment ago, or is asked now. In between its end shows on the socket, where nothing is to
        be read until we say something, and what cuts the line without a word cuts off a question as well.
        """
        now = time.monotonic()
        is_due = self.in_atomic_block or self.errors_occurred or now >= self.asked_at + ASK_EVERY_SECONDS
        if is_due or self.connection.closed or self._is_heard():
            if not super().is_usable():
                return False
            self.asked_at = now
        return True

    def _is_heard(self) -> bool:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def prepared_cursor(self) -> CursorWrapper:
        """
        The connection's cursor that binds on the server: psycopg prepares a statement that it sees for the fifth time.

        It passes through Django's execute wrappers and query log like any other cursor. There is one of it, kept, so
        what it fetched is read before it executes again.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        kept = self.kept_cursor
        if kept is None or kept.connection is not self.connection:
            with self.wrap_database_errors:
                kept = self.kept_cursor = PreparedCursor(self.connection)
        prepared: CursorWrapper = self._prepare_cursor(kept)  # type: ignore[attr-defined]  # the stubs leave it out
        return prepared
