"""Closing a position: at our price, wholly or in parts, and never into debt."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from core.models import KillSwitch
from tests import database, ledger_cast
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, close, key, place
from tests.trading.prices import Push
from tests.wallets.books import breaks
from trading.models import AccountWatch, Deal, Instrument, Position, Quote
from trading.verification import verify_positions
from wallets.models import Entry, LedgerTransaction, Wallet


def trader(margin: str = "10000.00", **options: Any) -> CastMember:
    return make_client(margin=Decimal(margin), **options)


def opened(who: CastMember, **order: Any) -> str:
    response = place(who, **order)
    assert response.status_code == 201, response.json()
    position: str = response.json()["position"]["id"]
    return position


def figures(who: CastMember) -> tuple[Decimal, Decimal]:
    who.margin.refresh_from_db()
    return who.margin.balance, who.margin.held


def test_pays_the_profit_and_releases_the_margin(market: Push) -> None:
    who = trader()
    position = opened(who, volume="0.50")
    market(EURUSD=("1.21000", "1.21010"))
    body = close(who, position).json()
    # (1.21000 − 1.20010) · 100,000 · 0.5 = 495.00; commission 1.75 a side.
    assert (body["price"], body["profit"], body["commission"]) == ("1.21000", "495.00", "1.75")
    assert (body["balance"], body["held"], body["margin_released"]) == ("10491.50", "0.00", "2000.17")
    assert figures(who) == (Decimal("10491.50"), 0)
    assert who.margin.realized_profit == Decimal("491.50")
    stored = Position.objects.get()
    assert (stored.status, stored.volume, stored.margin_locked, stored.profit) == ("CLOSED", 0, 0, Decimal("495.00"))


def test_a_short_closes_at_the_ask(market: Push) -> None:
    who = trader()
    position = opened(who, side="SELL", volume="0.50")
    market(EURUSD=("1.21000", "1.21010"))
    body = close(who, position).json()
    assert (body["price"], body["profit"]) == ("1.21010", "-505.00")


def test_the_house_mirrors_the_client_to_the_cent(market: Push) -> None:
    who = trader()
    position = opened(who, symbol="USDJPY", volume="0.37")
    market(USDJPY=("109.871", "109.882"))
    profit = Decimal(close(who, position).json()["profit"])
    legs = Entry.objects.filter(reason="TRADE_PNL")
    assert {leg.amount for leg in legs} == {profit, -profit}
    # A yen profit closed on the pair that has the account's currency as its base divides by the close.
    expected = (Decimal("109.871") - Decimal("109.210")) * 100_000 * Decimal("0.37") / Decimal("109.871")
    assert profit == expected.quantize(Decimal("0.01"))


def test_parts_add_up_to_the_whole(market: Push) -> None:
    who = trader()
    position = opened(who, volume="1.00")
    released = [Decimal(close(who, position, volume=part).json()["margin_released"]) for part in ("0.33", "0.33")]
    released.append(Decimal(close(who, position, volume="ALL").json()["margin_released"]))
    assert released == [Decimal("1320.11"), Decimal("1320.11"), Decimal("1360.11")]
    assert sum(released) == Position.objects.get().margin_initial
    assert figures(who)[1] == 0


def test_the_whole_remainder_is_exempt_from_the_grid(market: Push) -> None:
    who = trader()
    position = opened(who, volume="0.02")
    Instrument.objects.filter(pk="EURUSD").update(volume_min=Decimal("0.05"), volume_step=Decimal("0.05"))
    assert close(who, position, volume="0.02").status_code == 201


@pytest.mark.parametrize("volume, nearest", [("0.60", "0.5"), ("0.005", "0.01"), ("0.123", "0.12")])
def test_refuses_a_part_that_cannot_be_closed(market: Push, volume: str, nearest: str) -> None:
    who = trader()
    position = opened(who, volume="0.50")
    before = figures(who)
    body = close(who, position, volume=volume).json()
    assert (body["code"], body["context"]["nearest"]) == ("VOLUME_INVALID", nearest)
    assert figures(who) == before
    assert not Deal.objects.filter(entry="OUT").exists()


def test_refuses_to_close_twice(market: Push) -> None:
    who = trader()
    position = opened(who)
    assert close(who, position).status_code == 201
    before = figures(who)
    again = close(who, position)
    assert (again.status_code, again.json()["code"]) == (422, "POSITION_CLOSED")
    assert figures(who) == before
    assert Deal.objects.filter(entry="OUT").count() == 1


def test_repeats_its_answer_for_the_same_key(market: Push) -> None:
    who, same = trader(), key()
    position = opened(who)
    first, second = close(who, position, key=same), close(who, position, key=same)
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert Deal.objects.filter(entry="OUT").count() == 1


def test_hides_a_strangers_position(market: Push) -> None:
    who, stranger = trader(), bob()
    position = opened(who)
    response = close(stranger, position)
    assert (response.status_code, response.json()["code"]) == (404, "POSITION_NOT_FOUND")
    assert close(stranger, key()).json()["detail"] == response.json()["detail"]
    assert Position.objects.get().status == "OPEN"


def test_refuses_a_stale_price(market: Push) -> None:
    who = trader()
    position = opened(who)
    Quote.objects.update(received_at=timezone.now() - timedelta(minutes=5))
    before = figures(who)
    assert close(who, position).json()["code"] == "QUOTE_STALE"
    assert figures(who) == before
    assert Position.objects.get().status == "OPEN"


def test_is_not_blocked_by_freezes_switches_or_margin(market: Push) -> None:
    who = trader("1200.00")
    position = opened(who, volume="0.25")
    KillSwitch.objects.create(scope="TRADING", engaged=True)
    Wallet.objects.filter(pk=who.margin.pk).update(trading_enabled=False, status="FROZEN", verified=False)
    who.account.is_self_trading = False
    who.account.save(update_fields=["is_self_trading"])
    market(EURUSD=("1.16000", "1.16010"))
    assert close(who, position).status_code == 201


def test_the_house_covers_what_a_client_would_owe_when_nothing_is_left_open(market: Push) -> None:
    who = trader("1200.00")
    position = opened(who, volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    body = close(who, position).json()
    # 1200.00 − 0.88 − 1502.50 − 0.88
    assert (body["profit"], body["compensation"], body["balance"]) == ("-1502.50", "304.26", "0.00")
    assert figures(who) == (0, 0)
    reasons = LedgerTransaction.objects.get(type="CLOSE").entries.values_list("reason", flat=True)
    assert sorted(reasons) == sorted(["TRADE_PNL", "COMMISSION", "NEGATIVE_BALANCE_PROTECTION"] * 2)


def test_a_compensation_ends_what_credit_there_is(committed_market: Push) -> None:
    who = trader("1200.00")
    ledger_cast.give_credit(who.margin, "400.00")
    position = opened(who, volume="0.25")
    committed_market(EURUSD=("1.14000", "1.14010"))
    body = close(who, position).json()
    assert (body["profit"], body["compensation"], body["balance"]) == ("-1502.50", "304.26", "0.00")
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held, who.margin.credit) == (0, 0, 0)
    closing = LedgerTransaction.objects.get(type="CLOSE").entries.filter(wallet=who.margin).order_by("wallet_version")
    assert list(closing.values_list("reason", "amount")) == [
        ("TRADE_PNL", Decimal("-1502.50")),
        ("COMMISSION", Decimal("-0.88")),
        ("NEGATIVE_BALANCE_PROTECTION", Decimal("304.26")),
        ("CREDIT_OUT", Decimal("-400.00")),
    ]
    with transaction.atomic():
        assert verify_positions().is_clean
    assert breaks() == {}


def test_a_loss_that_the_client_bears_leaves_the_credit(market: Push) -> None:
    who = trader("1600.00")
    ledger_cast.give_credit(who.margin, "400.00")
    position = opened(who, volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    body = close(who, position).json()
    assert (body["compensation"], body["balance"]) == ("0.00", "95.74")
    who.margin.refresh_from_db()
    assert who.margin.credit == Decimal("400.00")


def test_credit_is_margin_to_open_with_and_to_be_stopped_out_by(market: Push) -> None:
    who = trader("300.00")
    assert place(who, volume="0.25").json()["code"] == "MARGIN_INSUFFICIENT"
    ledger_cast.give_credit(who.margin, "900.00")
    position = opened(who, volume="0.25")
    state = who.api.get(f"/api/v1/trading-accounts/{who.account.number}").json()
    # 300.00 − 0.88 + 900.00 − (1.20010 − 1.20000) · 25,000
    assert (state["balance"], state["credit"], state["equity"]) == ("299.12", "900.00", "1196.62")
    assert AccountWatch.objects.get(account=who.account).funds == Decimal("1199.12")
    assert close(who, position).status_code == 201


def test_a_hedged_client_may_owe_until_the_other_leg_is_closed(market: Push) -> None:
    who = trader("1200.00")
    losing = opened(who, side="BUY", volume="0.25")
    winning = opened(who, side="SELL", volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    body = close(who, losing).json()
    assert (body["compensation"], body["balance"]) == ("0.00", "-305.14")
    body = close(who, winning).json()
    # −305.14 + (1.20000 − 1.14010) · 25,000 − 0.88: he owes nothing and was given nothing.
    assert (body["compensation"], body["balance"]) == ("0.00", "1191.48")
    assert figures(who) == (Decimal("1191.48"), 0)


def test_shows_the_floating_profit_a_close_would_book(market: Push) -> None:
    who = trader()
    position = opened(who, volume="0.50")
    market(EURUSD=("1.19000", "1.19010"))
    shown = who.api.get(f"/api/v1/positions/{position}").json()
    summary = account(who)
    assert shown["floating"] == summary["floating"] == "-505.00"
    assert summary["equity"] == "9493.25"
    assert summary["margin_level"] == "474.62"
    assert close(who, position).json()["profit"] == shown["floating"]


def test_lists_positions_by_status(market: Push) -> None:
    who = trader()
    first, second = opened(who), opened(who)
    close(who, first)
    only = who.api.get("/api/v1/positions?status=OPEN").json()["results"]
    assert [row["id"] for row in only] == [second]
    assert len(who.api.get("/api/v1/positions").json()["results"]) == 2
    assert bob().api.get("/api/v1/positions").json()["results"] == []


def test_explains_every_deal_in_figures_that_agree_with_what_was_booked(market: Push) -> None:
    who = trader()
    position = opened(who, symbol="GBPJPY", volume="0.30")
    market(GBPJPY=("152.341", "152.365"))
    close(who, position, volume="0.10")
    Instrument.objects.update(commission_per_lot=99, contract_size=1)  # what a deal kept is what explains it
    deals = who.api.get("/api/v1/deals").json()["results"]
    assert [deal["entry"] for deal in deals] == ["OUT", "IN"]
    for deal in deals:
        document = who.api.get(f"/api/v1/deals/{deal['id']}/explain").json()
        assert document["agrees"] is True
        booked = {section["name"]: section["booked"] for section in document["sections"]}
        assert booked.items() <= {**deal, "margin_released": deal["margin"]}.items()
    assert bob().api.get(f"/api/v1/deals/{deals[0]['id']}/explain").status_code == 404


def compensation_of(who: CastMember, deal: str) -> tuple[str, list[tuple[str, str]]]:
    """What the explanation says was made good, and the lines that lead there."""
    document = who.api.get(f"/api/v1/deals/{deal}/explain").json()
    assert document["agrees"] is True
    (section,) = (one for one in document["sections"] if one["name"] == "compensation")
    assert section["recomputed"] == section["booked"]
    return section["booked"], [(line["formula"], line["value"]) for line in section["lines"]]


def test_explains_what_the_house_made_good(market: Push) -> None:
    who = trader("1200.00")
    position = opened(who, volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    deal = close(who, position).json()["deal"]
    lines = [("1199.12 − 1502.50 − 0.88", "-304.26"), ("0 − -304.26", "304.26")]
    assert compensation_of(who, deal) == ("304.26", lines)


def test_explains_why_nothing_was_made_good(market: Push) -> None:
    who = trader("1200.00")
    losing = opened(who, side="BUY", volume="0.25")
    winning = opened(who, side="SELL", volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    first, last = (close(who, one).json()["deal"] for one in (losing, winning))
    assert compensation_of(who, first) == ("0.00", [("1198.24 − 1502.50 − 0.88", "-305.14"), ("0", "0.00")])
    assert compensation_of(who, last) == ("0.00", [("-305.14 + 1497.50 − 0.88", "1191.48"), ("0", "0.00")])


def test_a_part_that_was_closed_settles_nothing(market: Push) -> None:
    who = trader("1200.00")
    position = opened(who, volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    body = close(who, position, volume="0.24").json()
    assert (body["compensation"], compensation_of(who, body["deal"])[0]) == ("0.00", "0.00")


def test_a_compensation_that_was_not_right_is_seen(market: Push) -> None:
    who = trader("1200.00")
    position = opened(who, volume="0.25")
    market(EURUSD=("1.14000", "1.14010"))
    deal = close(who, position).json()["deal"]
    with database.unguarded() as cursor:
        cursor.execute("UPDATE trading_deal SET compensation = 300 WHERE id = %s", [deal])
        assert cursor.rowcount == 1
    assert who.api.get(f"/api/v1/deals/{deal}/explain").json()["agrees"] is False
