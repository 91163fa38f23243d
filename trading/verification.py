"""What only trading knows of the books: what positions lock is what wallets hold, and every deal has its money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from core import db

#: How many breaks of one check are listed; all are counted.
BREAKS_SHOWN = 20

# Every check is a query for what breaks it, over one snapshot. F6 in SQL: per symbol the larger leg of what is locked.
CHECKS: dict[str, str] = {
    "held_is_what_positions_lock": """
        WITH legs AS (
            SELECT p.account_id, p.symbol, p.side, sum(p.margin_locked) AS locked
              FROM trading_position p WHERE p.status = 'OPEN' GROUP BY 1, 2, 3
        ), symbols AS (
            SELECT account_id, symbol, max(locked) AS locked FROM legs GROUP BY 1, 2
        ), accounts AS (
            SELECT account_id, sum(locked) AS locked FROM symbols GROUP BY 1
        )
        SELECT w.number, w.held, coalesce(a.locked, 0) AS locked
          FROM wallets_wallet w
          LEFT JOIN accounts_tradingaccount t ON t.wallet_id = w.id
          LEFT JOIN accounts a ON a.account_id = t.id
         WHERE w.kind = 'MARGIN' AND w.held <> coalesce(a.locked, 0)
    """,
    "owes_nothing_when_nothing_is_open": """
        SELECT w.number, w.balance
          FROM wallets_wallet w
          JOIN accounts_tradingaccount t ON t.wallet_id = w.id
         WHERE w.kind = 'MARGIN' AND w.balance < 0
           AND NOT EXISTS (SELECT FROM trading_position p WHERE p.account_id = t.id AND p.status = 'OPEN')
    """,
    "deals_have_their_legs": """
        SELECT d.id, d.profit, d.commission, d.compensation, legs.profit, legs.commission, legs.compensation
          FROM trading_deal d
          JOIN accounts_tradingaccount t ON t.id = d.account_id
          LEFT JOIN LATERAL (
              SELECT coalesce(sum(e.amount) FILTER (WHERE e.reason = 'TRADE_PNL'), 0) AS profit,
                     coalesce(sum(e.amount) FILTER (WHERE e.reason = 'COMMISSION'), 0) AS commission,
                     coalesce(sum(e.amount) FILTER (WHERE e.reason = 'NEGATIVE_BALANCE_PROTECTION'), 0)
                         AS compensation
                FROM wallets_entry e
               WHERE e.transaction_id = d.transaction_id AND e.wallet_id = t.wallet_id
          ) legs ON true
         WHERE (d.profit, -d.commission, d.compensation) <> (legs.profit, legs.commission, legs.compensation)
    """,
    "postings_have_their_deal": """
        SELECT x.id, x.type
          FROM wallets_ledgertransaction x
         WHERE x.type IN ('OPEN', 'CLOSE', 'STOP_OUT')
           AND NOT EXISTS (SELECT FROM trading_deal d WHERE d.transaction_id = x.id)
    """,
    "swaps_have_their_legs": """
        SELECT s.id, s.amount, s.compensation, legs.amount, legs.compensation, legs.income
          FROM trading_swap s
          JOIN accounts_tradingaccount t ON t.id = s.account_id
          LEFT JOIN LATERAL (
              SELECT coalesce(sum(e.amount) FILTER (WHERE e.reason = 'SWAP' AND w.id = t.wallet_id), 0) AS amount,
                     coalesce(sum(e.amount) FILTER (WHERE e.reason = 'NEGATIVE_BALANCE_PROTECTION'
                                                      AND w.id = t.wallet_id), 0) AS compensation,
                     coalesce(sum(e.amount) FILTER (WHERE e.reason = 'SWAP' AND w.kind = 'HOUSE_SWAP'), 0) AS income
                FROM wallets_entry e
                JOIN wallets_wallet w ON w.id = e.wallet_id
               WHERE e.transaction_id = s.transaction_id
          ) legs ON true
         WHERE (s.amount, s.compensation, -s.amount) <> (legs.amount, legs.compensation, legs.income)
    """,
    "swap_postings_have_their_night": """
        SELECT x.id, x.type
          FROM wallets_ledgertransaction x
         WHERE x.type = 'SWAP'
           AND NOT EXISTS (SELECT FROM trading_swap s WHERE s.transaction_id = x.id)
    """,
    "swaps_are_charged_once_a_night": """
        SELECT s.position_id, s.night, count(*)
          FROM trading_swap s
         GROUP BY s.position_id, s.night
        HAVING count(*) > 1
    """,
    "swaps_are_for_nights_the_position_was_held": """
        SELECT s.id, s.night, s.rollover_at, s.volume, p.opened_at, p.closed_at
          FROM trading_swap s
          JOIN trading_position p ON p.id = s.position_id
          LEFT JOIN LATERAL (
              SELECT coalesce(sum(d.volume), 0) AS volume
                FROM trading_deal d
               WHERE d.position_id = s.position_id AND d.entry = 'OUT' AND d.executed_at < s.rollover_at
          ) closed ON true
         WHERE p.opened_at >= s.rollover_at
            OR p.closed_at < s.rollover_at
            OR s.charged_at < s.rollover_at
            OR s.volume <> p.volume_initial - closed.volume
            OR (s.owner_id, s.account_id, s.symbol, s.side) <> (p.owner_id, p.account_id, p.symbol, p.side)
    """,
    "positions_are_the_sum_of_their_swaps": """
        SELECT p.number, p.swap, coalesce(s.amount, 0)
          FROM trading_position p
          LEFT JOIN (SELECT position_id, sum(amount) AS amount FROM trading_swap GROUP BY 1) s ON s.position_id = p.id
         WHERE p.swap <> coalesce(s.amount, 0)
    """,
    "positions_are_the_sum_of_their_deals": """
        SELECT p.number, p.volume_initial, p.volume, p.margin_locked
          FROM trading_position p
          JOIN LATERAL (
              SELECT coalesce(sum(d.volume) FILTER (WHERE d.entry = 'IN'), 0) AS opened,
                     coalesce(sum(d.volume) FILTER (WHERE d.entry = 'OUT'), 0) AS closed,
                     coalesce(sum(d.margin) FILTER (WHERE d.entry = 'IN'), 0) AS locked,
                     coalesce(sum(d.margin) FILTER (WHERE d.entry = 'OUT'), 0) AS released,
                     coalesce(sum(d.profit), 0) AS profit,
                     coalesce(sum(d.commission), 0) AS commission
                FROM trading_deal d WHERE d.position_id = p.id
          ) d ON true
         WHERE (p.volume_initial, p.volume, p.margin_initial, p.margin_locked, p.profit, p.commission)
            <> (d.opened, d.opened - d.closed, d.locked, d.locked - d.released, d.profit, d.commission)
    """,
    "filled_orders_have_one_position": """
        SELECT o.id, o.status
          FROM trading_order o
          LEFT JOIN trading_position p ON p.order_id = o.id
         WHERE (o.status = 'FILLED') <> (p.id IS NOT NULL)
    """,
    "positions_are_what_was_ordered": """
        SELECT p.number, o.id
          FROM trading_position p
          JOIN trading_order o ON o.id = p.order_id
         WHERE o.status = 'FILLED'
           AND (p.owner_id, p.account_id, p.symbol, p.side, p.volume_initial, p.price_open)
            <> (o.owner_id, o.account_id, o.symbol, o.side, o.volume, o.price_filled)
    """,
    "orders_have_a_deal_when_filled": """
        SELECT o.id, o.status, o.type, count(d.id)
          FROM trading_order o
          LEFT JOIN trading_deal d ON d.order_id = o.id
         GROUP BY o.id
        HAVING (count(d.id), count(d.id) FILTER (
                   WHERE d.entry = 'IN' AND d.price = o.price_filled AND (d.cause = 'CLIENT') = (o.type = 'MARKET')
               )) <> (CASE o.status WHEN 'FILLED' THEN 1 ELSE 0 END, CASE o.status WHEN 'FILLED' THEN 1 ELSE 0 END)
    """,
    "limit_orders_fill_at_their_price_or_better": """
        SELECT o.id, o.side, o.price, o.price_filled
          FROM trading_order o
         WHERE o.type = 'LIMIT' AND o.status = 'FILLED'
           AND CASE o.side WHEN 'BUY' THEN o.price_filled > o.price ELSE o.price_filled < o.price END
    """,
    "orders_reserve_margin_while_they_wait": """
        SELECT o.id, o.status, o.margin_reserved
          FROM trading_order o
         WHERE (o.status = 'WORKING' AND o.margin_reserved <= 0)
            OR (o.type = 'MARKET' AND o.margin_reserved <> 0)
    """,
}


@dataclass(frozen=True, slots=True)
class Break:
    """One row that should not be."""

    check: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows break each check, and the first of them."""

    counts: dict[str, int]
    breaks: list[Break]

    @property
    def is_clean(self) -> bool:
        return not any(self.counts.values())


def verify_positions(on_check: Callable[[], object] | None = None) -> Report:
    """Run every check inside the caller's transaction, which has fixed its snapshot; `on_check` is called per check."""
    db.require_transaction()
    counts, breaks = {}, []
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '0', true)")
        for name, sql in CHECKS.items():
            cursor.execute(sql)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            counts[name] = len(rows)
            breaks += [Break(name, tuple(str(fact) for fact in row)) for row in rows[:BREAKS_SHOWN]]
            if on_check is not None:
                on_check()
    return Report(counts, breaks)
