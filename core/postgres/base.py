"""Django's PostgreSQL backend, plus what money must know: did COMMIT arrive, and is this still the same transaction?"""

from __future__ import annotations

import itertools
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from django.db.utils import InterfaceError, OperationalError


class CommitOutcomeUnknown(OperationalError):
    """The link broke while COMMIT was under way: the transaction is either wholly there or wholly not."""


def is_link_lost(error: BaseException) -> bool:
    """Whether the error says that the server or the way to it is gone, rather than that the SQL was refused."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))


_serials = itertools.count(1)


class DatabaseWrapper(base.DatabaseWrapper):
    """Used as `ENGINE = "core.postgres"`."""

    #: Names this connection's newest transaction; no two transactions of a process share one, on whatever connection.
    transaction_serial = 0

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

    def prepared_cursor(self) -> CursorWrapper:
        """
        A cursor that binds on the server, so that psycopg prepares a statement it sees for the fifth time.

        It passes through Django's execute wrappers and query log like any other cursor.
        """
        self.ensure_connection()
        with self.wrap_database_errors:
            cursor: Any = base.ServerBindingCursor(self.connection)  # type: ignore[call-arg]  # the stubs' parent lacks it
        prepared: CursorWrapper = self._prepare_cursor(cursor)  # type: ignore[attr-defined]  # the stubs leave it out
        return prepared
