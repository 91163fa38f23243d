"""Django's PostgreSQL backend, plus what money must know: did COMMIT arrive, and is this still the same transaction?"""

from __future__ import annotations

import functools
import itertools
import re
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base
from django.db.utils import InterfaceError, InternalError, OperationalError
from psycopg.abc import Transformer as Adapting
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.datetime import TimestamptzLoader


class CommitOutcomeUnknown(OperationalError):
    """The link broke while COMMIT was under way: the transaction is either wholly there or wholly not."""


def is_link_lost(error: BaseException) -> bool:
    """Whether the error says that the server or the way to it is gone, rather than that the SQL was refused."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))


_serials = itertools.count(1)

#: A kept connection's server is asked no more often than this whether it is there.
ASK_EVERY_SECONDS = 5.0

#: Whether this server takes writes, apart from what the transaction under way may do.
_TAKES_WRITES_SQL = "SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean"

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(%))")


@functools.cache
def numbered(sql: str) -> tuple[bytes, tuple[str, ...], list[PyFormat]]:
    """A statement as the server numbers its parameters (`$1` for `%(owner)s`), their names in that order, and text."""
    names: dict[str, int] = {}

    def number(placeholder: re.Match[str]) -> str:
        name = placeholder[1]
        return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

    text = _PLACEHOLDER.sub(number, sql).encode()
    return text, tuple(names), [PyFormat.TEXT] * len(names)


class _Plain(NamedTuple):
    """How hot statements' values come and go: as Django has it, but for a loader of its own that is not compiled."""

    connection: psycopg.Connection[Any]
    adapters: AdaptersMap

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> _Plain:
        adapters = AdaptersMap(connection.adapters)
        adapters.register_loader("timestamptz", TimestamptzLoader)  # in the session's time zone, which is UTC
        return cls(connection, adapters)


class _Said(NamedTuple):
    """What Django's query log asks a cursor for."""

    query: bytes


class Statements:
    """
    Runs a connection's hot statements: constants of ours with named parameters, each prepared at its first use.

    One call into libpq sends, waits without the interpreter's lock, and receives; psycopg's own cursor, which can also
    be interrupted, streamed and pipelined, takes two and a half times the processor for it. What a parameter is, the
    statement says by a cast or by where it stands, so that one plan serves whatever the values are.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.wire = connection.pgconn
        self.adaptation = _Plain.of(connection)
        self.known: dict[str, tuple[bytes, Adapting]] = {}
        self.rows: list[tuple[Any, ...]] = []
        self._query: _Said | None = None

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> Statements:
        """Those of this session: a pool lends it to one request after another, and what was prepared stays prepared."""
        kept: Statements | None = vars(connection).get("statements")
        if kept is None:
            kept = vars(connection)["statements"] = cls(connection)
            vars(connection)["commit"] = kept.commit  # one call as well, instead of psycopg's generator
        return kept

    def execute(self, sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """:raises psycopg.Error: as psycopg's own cursors do"""
        text, names, formats = numbered(sql)
        self._query = _Said(text)
        if not self.connection.autocommit and self.wire.transaction_status == TransactionStatus.IDLE:
            self._checked(self.wire.exec_(b"BEGIN"))
        name, transformer = self.known.get(sql) or self._prepare(sql, text)
        values: Any = transformer.dump_sequence([params[name] for name in names], formats)  # its types forget NULL
        result = self.wire.exec_prepared(name, values) if name else self.wire.exec_params(text, values)
        self._checked(result)
        transformer.set_pgresult(result)
        self.rows = transformer.load_rows(0, result.ntuples, tuple)
        return self.rows

    def _prepare(self, sql: str, text: bytes) -> tuple[bytes, Adapting]:
        name = b""
        if self.connection.prepare_threshold is not None:  # behind PgBouncer the next transaction has another session
            name = b"desk_%d" % len(self.known)
            self._checked(self.wire.prepare(name, text))
        self.known[sql] = name, Transformer(self.adaptation)
        return self.known[sql]

    def commit(self) -> None:
        """:raises psycopg.Error: as psycopg's own commit does"""
        if self.wire.transaction_status != TransactionStatus.IDLE:
            self._checked(self.wire.exec_(b"COMMIT"))

    def _checked(self, result: PGresult) -> None:
        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return
        if result.error_field(DiagnosticField.SQLSTATE) is None:  # nobody answers any more: these were its last words
            raise psycopg.OperationalError(self.wire.get_error_message())
        raise psycopg.errors.error_from_result(result)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def close(self) -> None:
        """What Django's cursors do when they are left; the statements stay prepared."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Used as `ENGINE = "core.postgres"`."""

    is_debugging = False

    #: Names this connection's newest transaction; no two transactions of a process share one, on whatever connection.
    transaction_serial = 0
    asked_at = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.is_debugging = settings.DEBUG
        return super().get_new_connection(conn_params)

    @property
    def queries_logged(self) -> bool:
        """As Django has it, with the setting as it was when the session began: it is asked for with each statement."""
        return self.force_debug_cursor or self.is_debugging

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if not autocommit:
            self.transaction_serial = next(_serials)

    def _commit(self) -> None:
        # Everywhere else a lost link means "nothing happened". Here it means "nobody knows", and only this method can
        # tell the two apart: by the time the exception reaches a caller, the phase is gone.
        try:
            super()._commit()  # type: ignore[misc]  # the stubs leave it out
        except (OperationalError, InterfaceError, InternalError) as error:
            # The last is psycopg's, of an answer that is two: why the link ends, and that it has.
            if is_link_lost(error):
                raise CommitOutcomeUnknown(*error.args) from error
            raise

    def is_usable(self) -> bool:
        """
        Whether the server is still there and takes writes; Django asks at a kept connection's first use in a request.

        The server was asked a moment ago, or is asked now. In between its end shows on the socket, where nothing is to
        be read until we say something, and what cuts the line without a word cuts off a question as well. A server that
        was made read-only answers like any other; the one that took over is reached by connecting anew.
        """
        now = time.monotonic()
        is_due = self.in_atomic_block or self.errors_occurred or now >= self.asked_at + ASK_EVERY_SECONDS
        if is_due or self.connection.closed or self._is_heard():
            if not self._takes_writes():
                self.connection.close()  # the session itself: a pool would lend it again
                return False
            self.asked_at = now
        return True

    def _takes_writes(self) -> bool:
        try:
            return bool(self.connection.execute(_TAKES_WRITES_SQL).fetchone()[0])
        except psycopg.Error:
            return False

    def _is_heard(self) -> bool:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def fetch_all(self, sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one hot statement, through Django's execute wrappers and into its query log like any other."""
        self.close_if_health_check_failed()
        if self.connection is None:
            self.ensure_connection()
        kept = Statements.of(self.connection)
        if self.queries_logged:
            logged: Any = self._prepare_cursor(kept)  # type: ignore[attr-defined]  # the stubs leave it out
            logged.execute(sql, params)
            return kept.rows

        def execute(sql: str, params: Any, _many: bool, _context: Any) -> Any:
            try:
                return kept.execute(sql, params)
            except psycopg.Error:
                with self.wrap_database_errors:  # entered only now: most statements have no error to wrap
                    raise

        self.validate_no_broken_transaction()
        run: Callable[..., Any] = execute
        for wrapper in reversed(self.execute_wrappers):
            run = functools.partial(wrapper, run)
        rows: list[tuple[Any, ...]] = run(sql, params, False, {"connection": self, "cursor": kept})
        return rows
