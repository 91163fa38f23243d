"""Following an account: every change numbered once, told once, and of one moment with what the account is worth."""

from __future__ import annotations

import io
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from core import snapshot
from core.ids import uuid7_at
from tests.cast import CastMember, api_client, bob, make_client, market_data_client
from tests.database import Clone
from tests.trading import nights
from tests.trading.calls import Response, account, close, key, place, release
from tests.trading.prices import Push
from trading import selectors
from trading.models import AccountChange, AccountWatch, MarginEvent
from trading.services import change_log

ROWS = ("orders", "positions", "deals", "swaps", "margin_events")


@pytest.fixture
def who(market: Push) -> CastMember:
    return make_client(margin=Decimal("10000.00"))


def ask(who: CastMember, query: str = "", *, number: str | None = None) -> Any:
    return who.api.get(f"/api/v1/trading-accounts/{number or who.account.number}/changes{query}")


def changes(who: CastMember, *, since: int = 0, limit: int = 200) -> dict[str, Any]:
    response = ask(who, f"?since={since}&limit={limit}")
    assert response.status_code == 200, response.json()
    document: dict[str, Any] = response.json()
    return document


def ids(document: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [row["id"] for row in document[name]] for name in ROWS if document[name]}


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return [future.result(60) for future in [threads.submit(run, job) for job in jobs]]


# --- What it tells --------------------------------------------------------------------------------------------------


def test_an_account_that_never_traded_has_no_changes(who: CastMember) -> None:
    document = changes(who)
    assert [document[name] for name in ROWS] == [[]] * 5
    assert (document["since"], document["sequence"], document["latest"], document["has_more"]) == (0, 0, 0, False)
    assert document["state"]["equity"] == "10000.00"
    assert (document["state"]["positions"], document["state"]["quotes"]) == ([], [])
    assert account(who)["sequence"] == 0


def test_a_trade_is_an_order_a_position_and_a_deal(who: CastMember) -> None:
    order = place(who, volume="0.50").json()
    document = changes(who)
    assert ids(document) == {"orders": [order["id"]], "positions": [order["position"]["id"]], "deals": [order["deal"]]}
    assert (document["sequence"], document["latest"], account(who)["sequence"]) == (3, 3, 3)
    api = who.api
    assert document["orders"] == [api.get(f"/api/v1/orders/{order['id']}").json()]
    assert document["positions"] == [api.get(f"/api/v1/positions/{order['position']['id']}").json()]
    assert document["deals"] == api.get("/api/v1/deals").json()["results"]


def test_a_refused_order_is_a_change_too(who: CastMember) -> None:
    place(who, volume="40")
    document = changes(who)
    assert [order["reject_code"] for order in document["orders"]] == ["MARGIN_INSUFFICIENT"]
    assert document["sequence"] == 1


def test_only_what_is_behind_the_number_is_told_and_each_row_once_as_it_is_now(who: CastMember) -> None:
    first, second = (place(who, volume="0.10").json() for _ in range(2))
    close(who, first["position"]["id"], volume="0.04")
    seen = changes(who)["sequence"]
    close(who, first["position"]["id"], volume="0.05")
    close(who, second["position"]["id"])
    closed = close(who, first["position"]["id"]).json()
    document = changes(who, since=seen)
    assert [(row["number"], row["status"]) for row in document["positions"]] == [
        (second["position"]["number"], "CLOSED"),
        (first["position"]["number"], "CLOSED"),
    ]
    assert (document["orders"], len(document["deals"])) == ([], 3)
    assert document["deals"][-1]["id"] == closed["deal"]
    assert (document["since"], document["sequence"]) == (seen, seen + 6)
    assert ids(changes(who, since=document["sequence"])) == {}


def test_a_night_is_a_change(who: CastMember) -> None:
    position = nights.hold(who, since=nights.noon(nights.MONDAY))
    seen = changes(who)["sequence"]
    nights.charge(nights.TUESDAY)
    (swap,) = changes(who, since=seen)["swaps"]
    assert swap == who.api.get(f"/api/v1/positions/{position}/swaps").json()["results"][0]


def test_a_margin_event_is_a_change(who: CastMember) -> None:
    place(who)
    event = store_event(who)
    with transaction.atomic():
        watch = AccountWatch.objects.get(account=who.account)
        AccountChange.objects.create(
            owner=who.user,
            account=who.account,
            sequence=watch.sequence + 1,
            kind=AccountChange.Kind.MARGIN_EVENT,
            subject=event.id,
            changed_at=timezone.now(),
        )
        AccountWatch.objects.filter(pk=who.account.pk).update(sequence=watch.sequence + 1)
    document = changes(who, since=3)
    assert ids(document) == {"margin_events": [str(event.id)]}


# --- Its state ------------------------------------------------------------------------------------------------------


def test_the_state_is_the_account_with_what_is_open_and_the_quotes_that_say_so(who: CastMember, market: Push) -> None:
    place(who, volume="0.50")
    place(who, symbol="GBPJPY", side="SELL", volume="0.10")
    market(EURUSD=("1.19000", "1.19010"), GBPJPY=("152.000", "152.024"))
    state = changes(who)["state"]
    summary = account(who)
    assert {name: state[name] for name in summary} == summary
    euro, yen = state["positions"]
    assert (euro["price_current"], euro["floating"], euro["conversion"]) == ("1.19000", "-505.00", [])
    # Sold at 151.800, bought back at 152.024: a loss of 10,000 · 0.224 yen, which dollars have to be sold for.
    assert (yen["price_current"], yen["floating"]) == ("152.024", "-20.51")
    assert yen["conversion"] == ["1 / USDJPY bid 109.2"]
    assert Decimal(state["floating"]) == Decimal(euro["floating"]) + Decimal(yen["floating"])
    assert {quote["symbol"]: (quote["bid"], quote["ask"]) for quote in state["quotes"]} == {
        "EURUSD": ("1.19000", "1.19010"),
        "GBPJPY": ("152.000", "152.024"),
    }
    assert state["batch"] == 2


def test_prices_and_payments_show_without_a_change(who: CastMember, market: Push) -> None:
    place(who)
    seen = changes(who)
    market(EURUSD=("1.25000", "1.25010"))
    release(who, amount="100.00", target=who.cash.number)
    document = changes(who, since=seen["sequence"])
    assert ids(document) == {}
    assert document["state"]["floating"] == "499.00"
    assert Decimal(document["state"]["balance"]) == Decimal(seen["state"]["balance"]) - 100


# --- Pages ----------------------------------------------------------------------------------------------------------


def pages(who: CastMember, *, limit: int, since: int = 0) -> Iterator[dict[str, Any]]:
    while True:
        document = changes(who, since=since, limit=limit)
        yield document
        if not document["has_more"]:
            return
        assert document["sequence"] == since + limit
        since = document["sequence"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_pages_of_any_size_tell_of_every_row(who: CastMember, limit: int) -> None:
    for _ in range(4):
        close(who, place(who, volume="0.10").json()["position"]["id"], volume="0.05")
    told: dict[str, set[str]] = {name: set() for name in ROWS}
    read = list(pages(who, limit=limit))
    for document in read:
        assert document["latest"] == 20
        assert sum(len(found) for found in ids(document).values()) <= limit
        for name, found in ids(document).items():
            assert len(found) == len(set(found))
            told[name].update(found)
    assert read[-1]["sequence"] == 20
    assert {name: len(found) for name, found in told.items()} == {
        "orders": 4, "positions": 4, "deals": 8, "swaps": 0, "margin_events": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    "query, field",
    [
        (query, query[1:].partition("=")[0])
        for query in (
            "?since=-1", "?since=1.0", "?since=", "?since=+1", "?since=1e3", "?since=%20", "?since=0x1", "?since=x",
            "?since=%D9%A1", "?since=1_000", "?since=9223372036854775808", "?since=99999999999999999999",
            "?since=1%00", "?since[]=1&since=true", "?limit=0", "?limit=201", "?limit=-1", "?limit=all",
        )
    ],
)  # fmt: skip
def test_hostile_numbers_are_named(who: CastMember, query: str, field: str) -> None:
    response = ask(who, query)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field.replace("[]", "")]


# --- Who may follow, and from where ---------------------------------------------------------------------------------


def test_other_peoples_accounts_do_not_exist(who: CastMember) -> None:
    place(who)
    stranger = bob()
    refusals = [ask(stranger, number=number) for number in (who.account.number, "0000000000")]
    assert [response.status_code for response in refusals] == [404, 404]
    assert {response.json()["code"] for response in refusals} == {"TRADING_ACCOUNT_NOT_FOUND"}
    assert ids(changes(stranger)) == {}
    path = f"/api/v1/trading-accounts/{who.account.number}/changes"
    assert market_data_client().get(path).json()["code"] == "SCOPE_MISSING"
    assert api_client().get(path).status_code == 401
    assert who.api.post(path, {}).status_code == 405


@pytest.mark.parametrize("since", [4, 1_000, 2**63 - 1])
def test_a_number_that_the_account_never_came_to_asks_for_a_new_start(who: CastMember, since: int) -> None:
    place(who)
    response = ask(who, f"?since={since}")
    assert (response.status_code, response.json()["code"]) == (409, "SEQUENCE_UNKNOWN")
    context = response.json()["context"]
    assert context == {"number": who.account.number, "since": since, "earliest": 0, "latest": 3}
    assert ids(changes(who, since=context["latest"])) == {}


def test_an_account_that_never_traded_was_nowhere(who: CastMember) -> None:
    assert ask(who, "?since=1").json()["code"] == "SEQUENCE_UNKNOWN"


# --- At once --------------------------------------------------------------------------------------------------------


def test_changes_of_twenty_trades_at_once_are_gapless_and_none_is_missed(committed_market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    done = threading.Event()

    def trade(seed: int) -> None:
        side = "BUY" if seed % 2 else "SELL"
        order = resent(lambda key: place(who, volume="0.10", side=side, key=key))
        resent(lambda key: close(who, order["position"]["id"], volume="0.05", key=key))
        if seed % 3:
            resent(lambda key: close(who, order["position"]["id"], key=key))

    def follow() -> tuple[dict[str, dict[str, Any]], int]:
        known: dict[str, dict[str, Any]] = {}
        since = looks = 0
        chance = random.Random(1)
        while True:
            is_last = done.is_set()
            document = changes(who, since=since, limit=chance.choice([1, 3, 50]))
            assert_of_one_moment(document, known)
            since, looks = document["sequence"], looks + 1
            if is_last and not document["has_more"]:
                return known, looks

    def trade_all() -> None:
        try:
            in_threads(*(lambda seed=seed: trade(seed) for seed in range(20)))
        finally:
            done.set()

    _, (known, looks) = in_threads(trade_all, follow)
    assert looks > 10
    numbers = list(AccountChange.objects.order_by("sequence").values_list("sequence", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    # 20 fills of three changes each, and 20 + 13 closes of two.
    assert account(who)["sequence"] == len(numbers) == 20 * 3 + 33 * 2
    everything = changes(who, limit=200)
    for name in ROWS:
        for row in everything[name]:
            assert known[row["id"]] == row
    assert Counter(row["status"] for row in everything["positions"]) == {"OPEN": 7, "CLOSED": 13}


def resent(request: Callable[[str], Response]) -> dict[str, Any]:
    """What is answered under one key, asked again for as long as the desk is busy, as every client should."""
    one_key = key()
    while (response := request(one_key)).status_code == 503:
        pass
    assert response.status_code == 201, response.json()
    document: dict[str, Any] = response.json()
    return document


def assert_of_one_moment(document: dict[str, Any], known: dict[str, dict[str, Any]]) -> None:
    """A follower who has read every change knows exactly what the state is made of."""
    known.update({row["id"]: row for name in ROWS for row in document[name]})
    if document["has_more"]:
        return
    rows = known.values()
    deals = [row for row in rows if "entry" in row]
    open_now = {row["id"] for row in rows if row.get("status") == "OPEN"}
    assert {row["id"] for row in document["state"]["positions"]} == open_now
    paid = sum((Decimal(row["profit"]) - Decimal(row["commission"]) for row in deals), start=Decimal(0))
    assert Decimal(document["state"]["balance"]) == 10_000 + paid


def test_what_is_read_inside_one_moment_does_not_see_what_is_committed_meanwhile(committed_market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    place(who)
    with snapshot.of_one_moment():
        before = selectors.changes(who.account, since=0, limit=200)
        in_threads(lambda: place(who))
        book = selectors.book(who.account.id)
        assert (before.latest, book.sequence, len(book.positions)) == (3, 3, 1)
        assert selectors.changes(who.account, since=0, limit=200).rows == before.rows
    assert selectors.book(who.account.id).sequence == 6


def test_it_writes_nothing_even_by_mistake(committed_market: Push) -> None:
    from django.db import InternalError

    who = make_client()
    with pytest.raises(InternalError, match="read-only"), snapshot.of_one_moment():
        AccountWatch.objects.create(
            account=who.account, owner=who.user, batch=1, funds=0, held=0, updated_at=timezone.now()
        )
    assert not AccountWatch.objects.exists()


# --- Purged ---------------------------------------------------------------------------------------------------------


def purge(*arguments: str) -> dict[str, Any]:
    output = io.StringIO()
    call_command("purge_changes", "--json", *arguments, stdout=output)
    counts: dict[str, Any] = json.loads(output.getvalue())
    return counts


def date_back(*sequences: int, days: int) -> None:
    """Changes are dated by their ids."""
    moment = timezone.now() - timedelta(days=days)
    for sequence in sequences:
        AccountChange.objects.filter(sequence=sequence).update(id=uuid7_at(moment, sequence))


def test_what_is_old_is_purged_and_who_follows_from_before_starts_anew(who: CastMember) -> None:
    for _ in range(2):
        place(who)
    date_back(1, 2, 3, 4, days=40)
    assert purge("--dry-run") == {"job": "purge_changes", "old": 4, "purged": 0}
    assert purge("--batch", "3") == {"job": "purge_changes", "old": 4, "purged": 4}
    for since in range(4):
        response = ask(who, f"?since={since}")
        assert (response.status_code, response.json()["code"]) == (409, "SEQUENCE_UNKNOWN")
        assert (response.json()["context"]["earliest"], response.json()["context"]["latest"]) == (4, 6)
    assert changes(who, since=4)["sequence"] == 6
    place(who)
    assert changes(who, since=6)["sequence"] == 9


def test_an_account_all_of_whose_changes_are_purged_goes_on_counting(who: CastMember) -> None:
    place(who)
    date_back(1, 2, 3, days=31)
    assert purge()["purged"] == 3
    assert ask(who, "?since=2").json()["context"]["earliest"] == 3
    assert ids(changes(who, since=3)) == {}
    place(who)
    assert [row["volume"] for row in changes(who, since=3)["orders"]] == ["0.1"]


def test_a_hole_is_never_skipped_over(who: CastMember) -> None:
    place(who)
    place(who)
    AccountChange.objects.filter(sequence=3).delete()
    assert changes(who)["sequence"] == 2
    assert changes(who)["has_more"] is True
    assert ask(who, "?since=2").json()["code"] == "SEQUENCE_UNKNOWN"
    assert changes(who, since=3)["sequence"] == 6


def test_purgers_side_by_side_delete_each_change_once(committed_db: Clone, committed_market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    for _ in range(12):
        place(who, volume="0.01")
    moment = timezone.now() - timedelta(days=40)
    for change in AccountChange.objects.all():
        AccountChange.objects.filter(pk=change.pk).update(id=uuid7_at(moment, change.sequence))
    before = timezone.now() - timedelta(days=30)

    def purging() -> int:
        gone = 0
        while count := change_log.purge_changes(before=before, limit=5):
            gone += count
        return gone

    *gone, order = in_threads(purging, purging, lambda: place(who, volume="0.01"))
    assert (sum(gone), order.status_code) == (36, 201)
    assert list(AccountChange.objects.order_by("sequence").values_list("sequence", flat=True)) == [37, 38, 39]


# --- Margin events --------------------------------------------------------------------------------------------------


def store_event(who: CastMember, *, days_ago: int = 0, **facts: Any) -> MarginEvent:
    """A margin event as an engine leaves one."""
    moment = timezone.now() - timedelta(days=days_ago)
    return MarginEvent.objects.create(
        **{
            "id": uuid7_at(moment, 1),
            "owner": who.user,
            "account": who.account,
            "kind": MarginEvent.Kind.MARGIN_CALL,
            "batch": 2,
            "equity": Decimal("900.00"),
            "held": Decimal("1200.00"),
            "report": {"level": "75.00"},
            "created_at": moment,
            **facts,
        }
    )


def events(who: CastMember, query: str = "", *, number: str | None = None) -> Any:
    return who.api.get(f"/api/v1/trading-accounts/{number or who.account.number}/margin-events{query}")


def test_margin_events_are_listed_newest_first_and_read_one_by_one(who: CastMember) -> None:
    older = store_event(who, days_ago=1)
    newer = store_event(who, kind=MarginEvent.Kind.STOP_OUT, equity=Decimal("-5.00"), held=Decimal(0), batch=3)
    documents = events(who).json()["results"]
    assert [document["id"] for document in documents] == [str(newer.id), str(older.id)]
    assert [(one["kind"], one["margin_level"], one["currency"]) for one in documents] == [
        ("STOP_OUT", None, "USD"),
        ("MARGIN_CALL", "75.00", "USD"),
    ]
    one = who.api.get(f"/api/v1/margin-events/{older.id}").json()
    assert one == documents[1]
    assert (one["equity"], one["held"], one["report"]) == ("900.00", "1200.00", {"level": "75.00"})


def test_margin_events_are_filtered_by_kind_and_time(who: CastMember) -> None:
    old = store_event(who, days_ago=3)
    new = store_event(who, kind=MarginEvent.Kind.MARGIN_CALL_LIFTED, batch=4)
    day = (timezone.now() - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for query, expected in (("?kind=MARGIN_CALL", old), (f"?from={day}", new), (f"?to={day}", old)):
        assert [one["id"] for one in events(who, query).json()["results"]] == [str(expected.id)]
    page = events(who, "?limit=1").json()
    assert [one["id"] for one in who.api.get(page["next"]).json()["results"]] == [str(old.id)]
    for query in ("?kind=OTHER", "?from=soon", "?limit=0"):
        assert events(who, query).status_code == 400


def test_other_peoples_margin_events_do_not_exist(who: CastMember) -> None:
    event, stranger = store_event(who), bob()
    assert events(stranger, number=who.account.number).status_code == 404
    assert stranger.api.get(f"/api/v1/margin-events/{event.id}").status_code == 404
    assert events(stranger).json()["results"] == []


def test_staff_see_margin_events_watches_bands_and_tasks(who: CastMember) -> None:
    from tests.accounts.test_back_office import office

    place(who)
    store_event(who)
    desk = office("auditor")
    for path, shown in (("marginevent", "900"), ("accountwatch", who.account.number), ("priceband", "EURUSD")):
        page = desk.get(f"/admin/trading/{path}/?q={who.account.number}")
        assert page.status_code == 200
        assert shown in page.content.decode()
        assert desk.get(f"/admin/trading/{path}/add/").status_code == 403
    assert desk.get("/admin/trading/risktask/").status_code == 200
