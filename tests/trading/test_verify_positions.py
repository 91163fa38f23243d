"""Every check of `verify_positions`, proven by breaking exactly what it guards."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests import database
from tests.cast import CastMember, make_client
from tests.trading import nights
from tests.trading.calls import cancel, close, place
from tests.trading.prices import Push
from trading import verification
from wallets.models import Wallet


@pytest.fixture
def who(market: Push) -> CastMember:
    """A night, a hedge, a part closed at a loss, an account the house made whole, and orders that wait or waited."""
    client = make_client(margin=Decimal("10000.00"))
    position = str(nights.hold(client, since=nights.noon(nights.MONDAY), volume="0.50"))
    assert nights.charge(nights.TUESDAY)["swaps"] == 1
    place(client, side="SELL", volume="0.20")
    broke = make_client(margin=Decimal("1200.00"))
    lost = place(broke, volume="0.25").json()["position"]["id"]
    market(EURUSD=("1.14000", "1.14010"))
    close(client, position, volume="0.10")
    close(broke, lost)
    waiting = {"type": "LIMIT", "price": "1.13000", "volume": "0.01"}
    place(client, **waiting)
    cancel(client, place(client, **waiting).json()["id"])
    return client


def counts() -> dict[str, int]:
    return verification.verify_positions().counts


def corrupt(sql: str, *params: Any) -> None:
    """Change rows behind the guards' backs, as only a superuser can."""
    with database.unguarded() as cursor:
        # A CHECK holds even for a superuser; here it goes, until the test's transaction rolls back.
        cursor.execute("ALTER TABLE wallets_wallet DROP CONSTRAINT wallet_balance_not_negative")
        cursor.execute("ALTER TABLE trading_swap DROP CONSTRAINT swap_once_a_night")
        cursor.execute(sql, params)
        assert cursor.rowcount == 1, "the corruption hit its row"


def test_finds_nothing_in_clean_books(who: CastMember) -> None:
    report = verification.verify_positions()
    assert report.is_clean
    assert report.counts == dict.fromkeys(verification.CHECKS, 0)


@pytest.mark.parametrize(
    "check, sql",
    [
        (
            "held_is_what_positions_lock",
            "UPDATE wallets_wallet SET held = held + 1 WHERE kind = 'MARGIN' AND held > 0",
        ),
        (
            "owes_nothing_when_nothing_is_open",
            "UPDATE wallets_wallet SET balance = -1, held = 0 WHERE kind = 'MARGIN' AND held = 0",
        ),
        (
            "deals_have_their_legs",
            (
                "UPDATE wallets_entry e SET amount = amount + 1 FROM wallets_wallet w"
                " WHERE w.id = e.wallet_id AND w.kind = 'MARGIN' AND e.reason = 'NEGATIVE_BALANCE_PROTECTION'"
            ),
        ),
        (
            "postings_have_their_deal",
            (
                "INSERT INTO wallets_ledgertransaction (id, owner_id, type, environment, actor_id, actor_kind, reason,"
                " reference, idempotency_digest, request_id, posted_at, effective_at)"
                " SELECT gen_random_uuid(), owner_id,"
                " 'CLOSE', environment, actor_id, actor_kind, '', '', '\\x00', '', now(), now()"
                " FROM wallets_ledgertransaction WHERE type = 'CLOSE' LIMIT 1"
            ),
        ),
        (
            "swaps_have_their_legs",
            (
                "UPDATE wallets_entry e SET amount = amount + 1 FROM wallets_wallet w"
                " WHERE w.id = e.wallet_id AND w.kind = 'MARGIN' AND e.reason = 'SWAP'"
            ),
        ),
        (
            "swaps_have_their_legs",
            (
                "UPDATE wallets_entry e SET amount = amount + 1 FROM wallets_wallet w"
                " WHERE w.id = e.wallet_id AND w.kind = 'HOUSE_SWAP'"
            ),
        ),
        (
            "swap_postings_have_their_night",
            (
                "INSERT INTO wallets_ledgertransaction (id, owner_id, type, environment, actor_id, actor_kind, reason,"
                " reference, idempotency_digest, request_id, posted_at, effective_at)"
                " SELECT gen_random_uuid(), owner_id,"
                " 'SWAP', environment, actor_id, actor_kind, '', '', '\\x00', '', now(), now()"
                " FROM wallets_ledgertransaction WHERE type = 'SWAP' LIMIT 1"
            ),
        ),
        (
            "swaps_are_charged_once_a_night",
            (
                "INSERT INTO trading_swap (id, owner_id, account_id, position_id, symbol, night, rollover_at, nights,"
                " side, volume, mode, rate, price, price_basis, amount, compensation, inputs, charged_at)"
                " SELECT gen_random_uuid(), owner_id, account_id, position_id, symbol, night, rollover_at, nights,"
                " side, volume, mode, rate, price, price_basis, 0, 0, inputs, charged_at FROM trading_swap"
            ),
        ),
        (
            "swaps_are_for_nights_the_position_was_held",
            "UPDATE trading_swap SET rollover_at = rollover_at - interval '1 day'",
        ),
        ("swaps_are_for_nights_the_position_was_held", "UPDATE trading_swap SET volume = volume / 2"),
        (
            "positions_are_the_sum_of_their_swaps",
            "UPDATE trading_position SET swap = swap + 1 WHERE status = 'CLOSED'",
        ),
        (
            "positions_are_the_sum_of_their_deals",
            "UPDATE trading_position SET profit = profit + 1 WHERE status = 'CLOSED'",
        ),
        (
            "filled_orders_have_one_position",
            (
                "WITH closed AS (SELECT order_id FROM trading_position WHERE status = 'CLOSED'), freed AS ("
                " UPDATE trading_deal SET order_id = NULL WHERE order_id = (SELECT order_id FROM closed))"
                " UPDATE trading_order SET status = 'REJECTED', price_filled = NULL, reject_code = 'X'"
                " WHERE id = (SELECT order_id FROM closed)"
            ),
        ),
        (
            "positions_are_what_was_ordered",
            "UPDATE trading_order SET volume = volume + 1 WHERE status = 'FILLED' AND side = 'SELL'",
        ),
        (
            "orders_have_a_deal_when_filled",
            "UPDATE trading_deal SET order_id = NULL WHERE entry = 'IN' AND side = 'SELL'",
        ),
        (
            "orders_have_a_deal_when_filled",
            (
                "UPDATE trading_deal SET order_id = (SELECT id FROM trading_order WHERE status = 'WORKING')"
                " WHERE id = (SELECT id FROM trading_deal WHERE entry = 'OUT' LIMIT 1)"
            ),
        ),
        (
            "orders_have_a_deal_when_filled",
            "UPDATE trading_deal SET cause = 'ORDER', batch = 1 WHERE entry = 'IN' AND side = 'SELL'",
        ),
        (
            "limit_orders_fill_at_their_price_or_better",
            (
                "WITH turned AS ("
                " UPDATE trading_deal SET cause = 'ORDER', batch = 1 WHERE entry = 'IN' AND side = 'SELL')"
                " UPDATE trading_order SET type = 'LIMIT', time_in_force = 'GTC', price = price_filled + 1"
                " WHERE status = 'FILLED' AND side = 'SELL'"
            ),
        ),
        (
            "orders_reserve_margin_while_they_wait",
            "UPDATE trading_order SET margin_reserved = 0 WHERE status = 'WORKING'",
        ),
        (
            "orders_reserve_margin_while_they_wait",
            "UPDATE trading_order SET margin_reserved = 1 WHERE status = 'FILLED' AND side = 'SELL'",
        ),
    ],
)
def test_notices(who: CastMember, check: str, sql: str) -> None:
    corrupt(sql)
    found = {name: count for name, count in counts().items() if count}
    assert found == {check: 1}


def test_every_check_has_its_corruption() -> None:
    marks: Any = test_notices
    (parameters,) = (mark.args[1] for mark in marks.pytestmark)
    assert {check for check, _ in parameters} == set(verification.CHECKS)


@pytest.mark.usefixtures("committed_market")
def test_the_command_fails_on_a_break_and_names_it() -> None:
    client = make_client(margin=Decimal("10000.00"))
    place(client)
    clean = StringIO()
    call_command("verify_positions", as_json=True, stdout=clean)
    assert json.loads(clean.getvalue())["breaks"] == []
    Wallet.objects.filter(pk=client.margin.pk).update(held=1)
    broken = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_positions", as_json=True, stdout=broken)
    (found,) = json.loads(broken.getvalue())["breaks"]
    assert (found["check"], found["facts"][0]) == ("held_is_what_positions_lock", client.margin.number)
