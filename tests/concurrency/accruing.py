"""Accrual jobs as processes of their own, many closing deals for them to share, and something that kills them."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NoReturn
from uuid import UUID

from django.core.management import call_command
from django.db import connection, transaction

from core.ids import uuid7
from tests.cast import CastMember
from tests.referrals.deals import close_part, opened
from tests.trading.prices import Push
from trading.models import Deal, Instrument

#: A closing deal and its opening, copied with new ids: what reckoning reads is the same, and nothing is made up but how
#: many there are.
_COPY_SQL = """
WITH made AS (
    SELECT * FROM unnest(%(orders)s::uuid[], %(positions)s::uuid[], %(openings)s::uuid[], %(closings)s::uuid[],
                         %(digests)s::bytea[]) AS t (order_id, position_id, opening_id, closing_id, digest)
), template AS (
    SELECT c.id AS closing_id, o.id AS opening_id, c.position_id, p.order_id
      FROM trading_deal c
      JOIN trading_position p ON p.id = c.position_id
      JOIN trading_deal o ON o.position_id = p.id AND o.entry = 'IN'
     WHERE c.id = %(template)s::uuid AND c.transaction_id IS NULL AND o.transaction_id IS NULL
), orders AS (
    INSERT INTO trading_order (id, idempotency_digest, {order})
    SELECT made.order_id, made.digest, {order_of_x}
      FROM made, template JOIN trading_order x ON x.id = template.order_id
), positions AS (
    INSERT INTO trading_position (id, order_id, number, {position})
    SELECT made.position_id, made.order_id, nextval('trading_position_number_seq'), {position_of_x}
      FROM made, template JOIN trading_position x ON x.id = template.position_id
), openings AS (
    INSERT INTO trading_deal (id, position_id, order_id, idempotency_digest, {deal})
    SELECT made.opening_id, made.position_id, made.order_id, made.digest || '\\x01', {deal_of_x}
      FROM made, template JOIN trading_deal x ON x.id = template.opening_id
)
INSERT INTO trading_deal (id, position_id, order_id, idempotency_digest, {deal})
SELECT made.closing_id, made.position_id, NULL, made.digest || '\\x02', {deal_of_x}
  FROM made, template JOIN trading_deal x ON x.id = template.closing_id
"""

#: What is another in each copy; whatever other columns the tables have by now are the same.
_DIFFERENT = {
    "order": ["id", "idempotency_digest"],
    "position": ["id", "order_id", "number"],
    "deal": ["id", "position_id", "order_id", "idempotency_digest"],
}


def idle_deal(who: CastMember, move: Push) -> UUID:
    """A real closing deal that moved no money, so that copies of it owe none: only its spread was earned."""
    Instrument.objects.filter(pk="EURUSD").update(commission_per_lot=0)
    move(EURUSD=("1.20000", "1.20010"))
    position = opened(who, volume="1")
    move(EURUSD=("1.20010", "1.20020"))
    deal = close_part(who, position, "ALL")
    assert Deal.objects.get(pk=deal).transaction_id is None
    return deal


def copy_deal(closing: UUID, count: int) -> None:
    """As if this deal, with the position that it closed, had been made `count` times more, in one transaction."""
    ids = [[uuid7() for _ in range(count)] for _ in range(4)]
    params = dict(zip(("orders", "positions", "openings", "closings"), ids, strict=True))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        columns = {table: _columns(cursor, table, different) for table, different in _DIFFERENT.items()}
        of_x = {f"{table}_of_x": ", ".join(f"x.{name}" for name in names) for table, names in columns.items()}
        sql = _COPY_SQL.format(**{table: ", ".join(names) for table, names in columns.items()}, **of_x)
        cursor.execute(sql, params | {"digests": [id_.bytes for id_ in ids[3]], "template": closing})
        assert cursor.rowcount == count


def _columns(cursor: Any, table: str, different: list[str]) -> list[str]:
    cursor.execute(
        "SELECT column_name::text FROM information_schema.columns WHERE table_name = %s AND column_name <> ALL (%s)",
        [f"trading_{table}", different],
    )
    return [name for (name,) in cursor.fetchall()]


@dataclass
class Jobs:
    """So many jobs at once, each a process of its own; whoever is killed is replaced."""

    count: int
    batch: int
    seconds_max: int = 60
    running: list[int] = field(default_factory=list)
    kills: int = 0

    def start(self) -> None:
        connection.close()  # the children would share its socket
        while len(self.running) < self.count:
            pid = os.fork()
            if pid == 0:
                self._run()
            self.running.append(pid)

    def _run(self) -> NoReturn:
        signal.alarm(self.seconds_max)  # and not outlive their test, whatever becomes of it
        try:
            call_command("accrue_commissions", watch=True, interval=0.02, batch=self.batch, stdout=StringIO())
        finally:
            os._exit(0)

    def kill_one(self, dice: random.Random) -> None:
        """Kill one without warning, whatever it is doing, and start another."""
        self._end(self.running.pop(dice.randrange(len(self.running))), signal.SIGKILL)
        self.kills += 1
        self.start()

    def stop(self) -> None:
        for pid in self.running:
            self._end(pid, signal.SIGTERM)
        self.running.clear()

    def _end(self, pid: int, how: signal.Signals) -> None:
        os.kill(pid, how)
        os.waitpid(pid, 0)


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM referrals_accrual WHERE outcome = 'PENDING'")
        (count,) = cursor.fetchone() or (0,)
    return int(count)
