"""However many change an order at once, it goes one way, and what it reserves is what its last price says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.cast import CastMember
    from tests.trading.prices import Push

THREADS = 20

pytestmark = pytest.mark.usefixtures("committed_market")


@pytest.fixture
def committed_market(committed_db: object) -> Push:
    from tests.trading import prices

    return prices.open_market()


def trader() -> CastMember:
    from tests.cast import make_client

    return make_client(margin=Decimal("10000.00"))


def waiting(who: CastMember, **terms: Any) -> str:
    from tests.trading.calls import place

    body = place(who, **{"type": "LIMIT", "price": "1.19000", "volume": "0.50", **terms}).json()
    assert body["status"] == "WORKING", body
    order: str = body["id"]
    return order


def at_once(acts: list[Callable[[], Any]]) -> list[tuple[int, Any]]:
    """All of them in threads of their own, let go together."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> tuple[int, Any]:
        try:
            barrier.wait(timeout=60)
            response = act()
            return response.status_code, response.json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def api_of(who: CastMember) -> Any:
    from tests import cast

    return cast.api_client(who.token)


def changes_of(who: CastMember) -> list[int]:
    from trading.models import AccountChange

    rows = AccountChange.objects.filter(account=who.account).order_by("sequence")
    return list(rows.values_list("sequence", flat=True))


def assert_books_are_clean() -> None:
    from django.db import transaction

    from core import snapshot
    from trading import verification

    with transaction.atomic():
        snapshot.take()
        report = verification.verify_positions()
    assert report.is_clean, report.breaks


def test_twenty_cancellations_cancel_once() -> None:
    who = trader()
    order = waiting(who)
    answers = at_once([lambda: api_of(who).delete(f"/api/v1/orders/{order}")] * THREADS)
    assert {status for status, _ in answers} == {200}
    assert {(body["status"], body["updated_at"]) for _, body in answers} == {("CANCELLED", answers[0][1]["updated_at"])}
    assert changes_of(who) == [1, 2]
    assert_books_are_clean()


def test_changes_and_cancellations_at_once_end_cancelled() -> None:
    from trading.models import Order

    who = trader()
    order = waiting(who)

    def act(number: int) -> Callable[[], Any]:
        if number == THREADS // 2:
            return lambda: api_of(who).delete(f"/api/v1/orders/{order}")
        return lambda: api_of(who).patch(f"/api/v1/orders/{order}", {"price": f"1.18{number:03}"})

    answers = at_once([act(number) for number in range(THREADS)])
    outcomes = Counter((status, body.get("code")) for status, body in answers)
    assert set(outcomes) <= {(200, None), (409, "ORDER_NOT_WORKING")}
    row = Order.objects.get()
    assert (row.status, row.cancel_reason) == ("CANCELLED", "CLIENT")
    # Placed, changed as often as a change was taken, cancelled: each has its number.
    assert changes_of(who) == list(range(1, outcomes[200, None] + 2))
    assert_books_are_clean()


def test_changes_at_once_leave_the_reserve_of_the_last_price() -> None:
    from tests.trading.calls import account, preview
    from trading.models import Order

    who = trader()
    order = waiting(who)

    def act(number: int) -> Callable[[], Any]:
        return lambda: api_of(who).patch(f"/api/v1/orders/{order}", {"price": f"1.{180 + number}00"})

    acts = [act(number) for number in range(THREADS // 2)]
    answers = at_once(acts)
    assert {status for status, _ in answers} == {200}
    row = Order.objects.get()
    shown = preview(who, type="LIMIT", price=str(row.price.normalize()), volume="0.50").json()
    assert f"{row.margin_reserved:.2f}" == shown["reserved_margin"] == account(who)["reserved"]
    assert_books_are_clean()


def test_orders_placed_at_once_never_reserve_more_than_there_is() -> None:
    from tests.trading.calls import account, key
    from trading.models import Order

    who = trader()
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.50"}
    body |= {"type": "LIMIT", "price": "1.19000"}
    acts = [lambda: api_of(who).post("/api/v1/orders", body, headers={"Idempotency-Key": key()})] * THREADS
    outcomes = Counter((status, body.get("code")) for status, body in at_once(acts))
    # 1,983.33 each, and 6.75 for commission and spread of the one that is asked for: five fit into 10,000.00.
    assert outcomes == {(201, None): 5, (422, "MARGIN_INSUFFICIENT"): THREADS - 5}
    assert Order.objects.filter(status="WORKING").count() == 5
    assert account(who)["reserved"] == "9916.65"
    assert_books_are_clean()


def test_one_client_order_id_names_one_order() -> None:
    from tests.trading.calls import key
    from trading.models import Order

    who = trader()
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.01"}
    body |= {"type": "LIMIT", "price": "1.19000", "client_order_id": "mine"}
    acts = [lambda: api_of(who).post("/api/v1/orders", body, headers={"Idempotency-Key": key()})] * THREADS
    outcomes = Counter((status, body.get("code")) for status, body in at_once(acts))
    assert outcomes == {(201, None): 1, (409, "CLIENT_ORDER_ID_TAKEN"): THREADS - 1}
    assert Order.objects.count() == 1


def test_stops_are_moved_until_the_position_is_closed() -> None:
    from tests.trading.calls import key, place
    from trading.models import Deal, Position

    who = trader()
    position = place(who, volume="0.50").json()["position"]["id"]

    def act(number: int) -> Callable[[], Any]:
        if number == THREADS // 2:
            path = f"/api/v1/positions/{position}/close"
            return lambda: api_of(who).post(path, {"volume": "ALL"}, headers={"Idempotency-Key": key()})
        return lambda: api_of(who).patch(f"/api/v1/positions/{position}", {"stop_loss": f"1.18{number:03}"})

    answers = at_once([act(number) for number in range(THREADS)])
    outcomes = Counter((status, body.get("code")) for status, body in answers)
    assert set(outcomes) <= {(200, None), (201, None), (422, "POSITION_CLOSED")}
    assert outcomes[201, None] == 1
    assert Position.objects.get().status == "CLOSED"
    assert Deal.objects.filter(entry="OUT").count() == 1
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("9991.50"), 0)
    assert changes_of(who) == list(range(1, 6 + outcomes[200, None]))
    assert_books_are_clean()
