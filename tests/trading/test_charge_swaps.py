"""Nights are charged by the command, each once, however late it comes."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils import timezone

from core.commands import JobFailed
from core.models import JobRun
from tests import ledger_cast
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, close, place, release
from tests.trading.nights import (
    FRIDAY,
    MONDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    balance,
    charge,
    charged,
    date_back_the_close,
    hold,
    noon,
    positions_are_clean,
    swap_terms,
    utc,
)
from tests.trading.prices import Push, forget
from tests.trading.test_cases_over_rest import cfd, quote
from trading.management.commands.charge_swaps import Command
from trading.models import Instrument, Position, Quote, Swap
from trading.services import swaps
from trading.services.instruments import load_instruments
from wallets.models import Entry, LedgerTransaction, Wallet

WEDNESDAYS = 2


def trader(margin: str = "20000.00", **options: Any) -> CastMember:
    return make_client(margin=Decimal(margin), **options)


@pytest.fixture
def costly(market: Push) -> Push:
    """A long EURUSD costs 7.00 USD a lot and night, a short earns 2.00; nothing else costs anything."""
    swap_terms("EURUSD", swap_long=-7, swap_short=2, swap_triple_weekday=WEDNESDAYS)
    market(EURUSD=("1.20000", "1.20000"))
    return market


# --- Published examples ---------------------------------------------------------------------------------------------


def test_we_19_three_percent_a_year_of_sterling(market: Push) -> None:
    terms = {"digits": 5, "tick_size": Decimal("0.00001"), "contract_size": Decimal(100_000)}
    cfd("EURGBP", margin_rate=Decimal("0.05"), swap_mode="ANNUAL", swap_long=-3, **terms)
    quote("EURGBP", "1.15826")
    who = trader(currency="GBP")
    hold(who, since=noon(MONDAY), symbol="EURGBP", volume="1")
    charge(TUESDAY)
    assert charged() == [(MONDAY, 1, Decimal("-9.52"))]
    assert (balance(who), Swap.objects.get().mode) == (Decimal("19990.48"), "ANNUAL_365")


def test_we_20_seven_points_for_two_lots_and_three_times_that_on_wednesday(market: Push) -> None:
    swap_terms("EURUSD", swap_long=7, swap_triple_weekday=WEDNESDAYS)
    single, triple = trader(), trader()
    hold(single, since=noon(MONDAY), volume="2")
    charge(TUESDAY)
    assert balance(single) == Decimal("20014.00")
    Position.objects.update(rollover_due_at=noon(FRIDAY))
    hold(triple, since=noon(WEDNESDAY), volume="2")
    charge(THURSDAY)
    assert balance(triple) == Decimal("20042.00")


def test_we_20x_four_nights_with_the_weekend_in_one(market: Push) -> None:
    swap_terms("EURUSD", swap_long=Decimal("-13.472"), swap_triple_weekday=WEDNESDAYS)
    who = trader()
    position = hold(who, since=noon(WEDNESDAY), volume="1")
    charge(FRIDAY)
    assert charged() == [(WEDNESDAY, 3, Decimal("-40.42")), (THURSDAY, 1, Decimal("-13.47"))]
    assert Position.objects.get(pk=position).swap == Decimal("-53.89")


def test_we_21_thirty_percent_a_year_of_half_a_contract(market: Push) -> None:
    cfd("XYZUSD", contract_size=Decimal(1), swap_mode="ANNUAL", swap_long=Decimal("-30.98"))
    quote("XYZUSD", "10000.00")
    who = trader()
    hold(who, since=noon(MONDAY), symbol="XYZUSD", volume="0.5")
    charge(TUESDAY)
    assert (balance(who), Swap.objects.get().mode) == (Decimal("19995.70"), "ANNUAL_360")


# --- Which nights ---------------------------------------------------------------------------------------------------


def test_a_week_charges_seven_nights_and_wednesday_three_of_them(costly: Push) -> None:
    hold(trader(), since=noon(MONDAY), volume="1")
    charge("2026-01-19T12:00:00Z")
    week = [(MONDAY, 1), (TUESDAY, 1), (WEDNESDAY, 3), (THURSDAY, 1), (FRIDAY, 1)]
    assert [(night, nights) for night, nights, _ in charged()] == week
    assert sum(amount for _, _, amount in charged()) == Decimal("-49.00")


def test_what_never_closes_is_charged_every_day(market: Push) -> None:
    swap_terms("BTCUSD", swap_mode="ANNUAL", swap_long=Decimal("-36"))
    hold(trader("60000.00"), since=noon(FRIDAY), symbol="BTCUSD", volume="1")
    charge("2026-01-19T12:00:00Z")
    # 50,000 · 36 % ÷ 360
    assert charged() == [(f"2026-01-{day}", 1, Decimal("-50.00")) for day in (16, 17, 18)]


def test_a_short_is_paid_what_a_short_earns(costly: Push) -> None:
    who = trader()
    hold(who, since=noon(MONDAY), side="SELL", volume="0.50")
    charge(TUESDAY)
    assert balance(who) == Decimal("20001.00")
    assert who.margin.realized_profit == Decimal("1.00")


@pytest.mark.parametrize(
    "opened, nights",
    [
        ("2026-01-12T21:59:59.999999", [MONDAY, TUESDAY]),
        ("2026-01-12T22:00:00", [TUESDAY]),
        ("2026-01-12T22:00:01", [TUESDAY]),
        ("2026-01-13T22:00:00", []),
    ],
)
def test_a_position_opened_after_the_rollover_owes_nothing_for_it(costly: Push, opened: str, nights: list[str]) -> None:
    hold(trader(), since=utc(opened), volume="1")
    charge("2026-01-13T22:00:00Z")
    assert [night for night, _, _ in charged()] == nights


@pytest.mark.parametrize(
    "closed, nights",
    [
        ("2026-01-13T21:59:59.999999", [MONDAY]),
        ("2026-01-13T22:00:00", [MONDAY, TUESDAY]),
        ("2026-01-13T23:00:00", [MONDAY, TUESDAY]),
    ],
)
def test_a_closed_position_owes_the_nights_it_was_open(costly: Push, closed: str, nights: list[str]) -> None:
    who = trader()
    position = hold(who, since=noon(MONDAY), volume="1")
    close(who, str(position))
    date_back_the_close(position, utc(closed))
    charge(FRIDAY)
    assert [night for night, _, _ in charged()] == nights
    assert balance(who) == Decimal("20000.00") - 7 * len(nights)
    charge()
    assert len(charged()) == len(nights)
    positions_are_clean()


def test_a_night_is_charged_on_what_was_open_then(costly: Push) -> None:
    who = trader()
    position = hold(who, since=noon(MONDAY), volume="1.00")
    close(who, str(position), volume="0.40")
    date_back_the_close(position, noon(TUESDAY))
    charge("2026-01-13T23:00:00Z")
    close(who, str(position), volume="0.30")  # later than every night of this test
    charge(FRIDAY)
    amounts = [Decimal("-7.00"), Decimal("-4.20"), Decimal("-12.60"), Decimal("-4.20")]
    assert [amount for _, _, amount in charged()] == amounts
    positions_are_clean()


def test_the_hour_moves_with_summer_time(costly: Push) -> None:
    hold(trader(), since=noon("2026-03-05"), volume="1")
    charge("2026-03-11T12:00:00Z")
    moments = Swap.objects.order_by("night").values_list("rollover_at", flat=True)
    assert [moment.isoformat() for moment in moments] == [
        "2026-03-05T22:00:00+00:00",
        "2026-03-06T22:00:00+00:00",
        "2026-03-09T21:00:00+00:00",
        "2026-03-10T21:00:00+00:00",
    ]


def test_the_hour_moves_back_in_autumn(costly: Push) -> None:
    hold(trader(), since=noon("2025-10-31"), volume="1")
    assert charge("2025-10-31T20:59:59Z")["swaps"] == 0
    assert charge("2025-10-31T21:00:00Z")["swaps"] == 1
    assert charge("2025-11-03T21:59:59Z")["swaps"] == 0
    assert charge("2025-11-03T22:00:00Z")["swaps"] == 1


def test_an_order_knows_its_first_rollover(costly: Push) -> None:
    place(trader(), volume="0.10")
    position = Position.objects.get()
    assert position.rollover_due_at is not None
    assert timedelta(0) < position.rollover_due_at - position.opened_at <= timedelta(hours=25)
    assert charge()["accounts"] == 0


# --- Once -----------------------------------------------------------------------------------------------------------


def test_charges_nothing_twice(costly: Push) -> None:
    who = trader()
    hold(who, since=noon(MONDAY), volume="1")
    assert charge(TUESDAY)["swaps"] == 1
    assert charge(TUESDAY) == {
        "job": "charge_swaps",
        "accounts": 0,
        "swaps": 0,
        "compensated": 0,
        "unpriced": 0,
        "unfinished": 0,
        "amounts": {},
    }
    Position.objects.update(rollover_due_at=None)  # whatever the sweep remembers: the night has a row
    assert charge(TUESDAY)["swaps"] == 0
    assert balance(who) == Decimal("19993.00")


def test_five_missed_nights_are_caught_up_as_if_none_had_been(costly: Push) -> None:
    prompt, late = trader(), trader()
    for who in (prompt, late):
        hold(who, since=noon(MONDAY), volume="0.30")
        hold(who, since=noon(TUESDAY), volume="0.20", side="SELL")
    late_positions = Position.objects.filter(account=late.account)
    late_positions.update(rollover_due_at=timezone.now() + timedelta(days=1))
    for day in (13, 14, 15, 16, 17):
        charge(f"2026-01-{day}")
    late_positions.update(rollover_due_at=None)
    charge("2026-01-17")

    def nights(who: CastMember) -> list[Any]:
        columns = ("night", "rollover_at", "nights", "side", "volume", "rate", "price", "price_basis", "amount")
        rows = Swap.objects.filter(account=who.account).order_by("rollover_at", "side")
        return list(rows.values_list(*columns, "inputs"))

    def entries(who: CastMember) -> list[Any]:
        rows = Entry.objects.filter(wallet=who.margin, reason="SWAP").order_by("wallet_version")
        return list(rows.values_list("wallet_version", "amount", "balance_after", "transaction__effective_at"))

    assert len(nights(prompt)) == 9
    assert nights(late) == nights(prompt)
    assert entries(late) == entries(prompt)
    assert balance(late) == balance(prompt) == Decimal("19987.70")
    positions_are_clean()


def test_an_account_with_many_nights_is_charged_in_parts(costly: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = trader(), trader()
    for who in (whole, parts):
        hold(who, since=noon(MONDAY), volume="0.10")
        hold(who, since=noon(MONDAY), volume="0.20")
    Position.objects.filter(account=parts.account).update(rollover_due_at=timezone.now() + timedelta(days=1))
    charge(FRIDAY)
    Position.objects.filter(account=parts.account).update(rollover_due_at=None)
    monkeypatch.setattr(swaps, "CHARGES_MAX", 3)
    assert charge(FRIDAY)["swaps"] == 8
    assert balance(parts) == balance(whole)
    assert [position.swap for position in Position.objects.filter(account=parts.account).order_by("id")] == [
        Decimal("-4.20"),
        Decimal("-8.40"),
    ]
    positions_are_clean()


# --- Money ----------------------------------------------------------------------------------------------------------


def test_the_house_mirrors_every_night(costly: Push) -> None:
    who = trader()
    hold(who, since=noon(MONDAY), volume="1")
    charge(TUESDAY)
    posted = LedgerTransaction.objects.get(type="SWAP")
    legs = posted.entries.order_by("amount").values_list("wallet__kind", "amount", "reason")
    assert list(legs) == [("MARGIN", Decimal("-7.00"), "SWAP"), ("HOUSE_SWAP", Decimal("7.00"), "SWAP")]
    assert (posted.actor_kind, posted.effective_at) == ("SYSTEM", utc("2026-01-12T22:00:00"))
    assert Swap.objects.get().transaction_id == posted.id


def test_a_night_is_converted_at_what_a_cost_has_to_be_bought_for(costly: Push) -> None:
    swap_terms("GBPJPY", swap_long=-20)
    who = trader()
    hold(who, since=noon(MONDAY), symbol="GBPJPY", volume="1")
    charge(TUESDAY)
    # 100,000 · 0.001 · 20 = 2,000 JPY, at the USDJPY bid 109.200
    swap = Swap.objects.get()
    assert (swap.amount, swap.inputs["conversion_path"]) == (Decimal("-18.32"), ["1 / USDJPY bid 109.2"])


def test_the_balance_may_go_below_zero_while_margin_is_held(costly: Push) -> None:
    who = trader("4010.00")
    hold(who, since=noon(MONDAY), volume="1")
    Wallet.objects.filter(pk=who.margin.pk).update(held=Decimal("4000.00"))
    swap_terms("EURUSD", swap_long=-3000, swap_short=0)
    charge(WEDNESDAY)
    assert balance(who) == Decimal("-1990.00")
    assert set(Swap.objects.values_list("compensation", flat=True)) == {Decimal(0)}


def test_a_client_who_has_left_never_owes_for_a_night_charged_late(costly: Push) -> None:
    who = trader("4010.00")
    position = hold(who, since=noon(MONDAY), volume="1")
    close(who, str(position))
    date_back_the_close(position, noon(THURSDAY))
    body = who.api.post(
        f"/api/v1/trading-accounts/{who.account.number}/release",
        {"amount": "4000.00", "target": who.cash.number},
        headers={"Idempotency-Key": "leaves-before-the-sweep"},
    )
    assert body.status_code == 201, body.json()
    assert charge(FRIDAY)["compensated"] == 2
    # 10.00 covers the first night and 3.00 of the second.
    rows = Swap.objects.order_by("night").values_list("amount", "compensation")
    assert list(rows) == [
        (Decimal("-7.00"), Decimal(0)),
        (Decimal("-7.00"), Decimal("4.00")),
        (Decimal("-21.00"), Decimal("21.00")),
    ]
    assert balance(who) == 0
    positions_are_clean()


def test_a_night_the_house_had_to_pay_ends_what_credit_there_is(costly: Push) -> None:
    who = trader("4010.00")
    position = hold(who, since=noon(MONDAY), volume="1")
    close(who, str(position))
    date_back_the_close(position, noon(WEDNESDAY))
    release(who, amount="4000.00", target=who.cash.number)
    ledger_cast.give_credit(who.margin, "50.00")
    assert charge(FRIDAY)["compensated"] == 1
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.credit) == (0, 0)
    night = Swap.objects.latest("night").transaction
    assert night is not None
    reasons = night.entries.filter(wallet=who.margin).order_by("wallet_version").values_list("reason", "amount")
    assert list(reasons) == [
        ("SWAP", Decimal("-7.00")),
        ("NEGATIVE_BALANCE_PROTECTION", Decimal("4.00")),
        ("CREDIT_OUT", Decimal("-50.00")),
    ]
    positions_are_clean()


def test_freezes_do_not_stop_the_nights(costly: Push) -> None:
    who = trader()
    hold(who, since=noon(MONDAY), volume="1")
    Wallet.objects.filter(pk=who.margin.pk).update(status="FROZEN", trading_enabled=False, withdrawals_enabled=False)
    charge(TUESDAY)
    assert balance(who) == Decimal("19993.00")


def test_demo_and_live_never_meet(costly: Push) -> None:
    for environment, volume in (("DEMO", "1"), ("LIVE", "2")):
        hold(trader(environment=environment), since=noon(MONDAY), volume=volume)
    assert charge(TUESDAY)["amounts"] == {"DEMO USD": "-7.00", "LIVE USD": "-14.00"}
    rows = Entry.objects.filter(reason="SWAP", wallet__kind="HOUSE_SWAP")
    assert sorted(rows.values_list("wallet__environment", "transaction__environment", "amount")) == [
        ("DEMO", "DEMO", Decimal("7.00")),
        ("LIVE", "LIVE", Decimal("14.00")),
    ]


def test_no_swap_leaves_no_trace_and_one_that_rounds_to_nothing_leaves_its_row(market: Push) -> None:
    swap_terms("EURUSD", swap_long=0, swap_short=Decimal("0.4"))
    who = trader()
    free = hold(who, since=noon(MONDAY), volume="1")
    tiny = hold(who, since=noon(MONDAY), volume="0.01", side="SELL")
    charge(TUESDAY)
    assert not Swap.objects.filter(position=free).exists()
    swap = Swap.objects.get(position=tiny)
    assert (swap.amount, swap.transaction_id) == (Decimal(0), None)
    assert not LedgerTransaction.objects.filter(type="SWAP").exists()
    assert charge(TUESDAY)["accounts"] == 0
    positions_are_clean()


def test_says_which_price_a_night_was_charged_at(market: Push) -> None:
    swap_terms("BTCUSD", swap_mode="ANNUAL", swap_long=Decimal("-36"))
    hold(trader("60000.00"), since=noon(MONDAY), symbol="BTCUSD", volume="1")
    charge(TUESDAY)
    Quote.objects.update(received_at=noon(TUESDAY))
    charge(WEDNESDAY)
    rows = Swap.objects.order_by("night").values_list("night", "price_basis", "price")
    assert list(rows) == [
        (date(2026, 1, 12), "LAST_KNOWN", Decimal(50_000)),
        (date(2026, 1, 13), "AT_ROLLOVER", Decimal(50_000)),
    ]


# --- The command ----------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_the_same_and_changes_nothing(costly: Push) -> None:
    who = trader()
    hold(who, since=noon(MONDAY), volume="1")
    told = charge(FRIDAY, dry_run=True)
    assert (told["swaps"], told["amounts"]) == (4, {"LIVE USD": "-42.00"})
    assert not Swap.objects.exists()
    assert not JobRun.objects.exists()
    assert balance(who) == Decimal("20000.00")
    assert Decimal(charge(FRIDAY)["amounts"]["LIVE USD"]) == Decimal("-42.00")


def test_what_cannot_be_converted_stays_due_and_fails_the_job(costly: Push) -> None:
    swap_terms("GBPJPY", swap_long=-20)
    who, other = trader(), trader()
    hold(who, since=noon(MONDAY), volume="1")
    hold(who, since=noon(MONDAY), symbol="GBPJPY", volume="0.10")
    hold(other, since=noon(MONDAY), volume="1")
    forget("USDJPY")
    with pytest.raises(CommandError):
        charge(WEDNESDAY)
    assert [amount for _, _, amount in charged()] == [Decimal("-7.00")] * 4
    assert JobRun.objects.get().counts["unpriced"] == 1
    costly(USDJPY=("109.200", "109.210"))
    assert charge(WEDNESDAY)["swaps"] == 2
    positions_are_clean()


def test_what_has_no_price_stays_due(costly: Push) -> None:
    hold(trader(), since=noon(MONDAY), volume="1")
    forget()
    with pytest.raises(CommandError):
        charge(TUESDAY)
    assert not Swap.objects.exists()
    costly(EURUSD=("1.20000", "1.20000"))
    assert charge(TUESDAY)["swaps"] == 1


def test_an_account_that_the_database_refuses_holds_up_nobody_else(costly: Push) -> None:
    refused, other = trader(), trader()
    position = hold(refused, since=noon(MONDAY), volume="1")
    hold(other, since=noon(MONDAY), volume="1")
    Position.objects.filter(pk=position).update(swap=Decimal("-999999999999.99999999"))
    with pytest.raises(CommandError):
        charge(TUESDAY)
    assert (balance(refused), balance(other)) == (Decimal("20000.00"), Decimal("19993.00"))
    assert JobRun.objects.get().counts["unfinished"] == 1
    Position.objects.filter(pk=position).update(swap=0)
    assert charge(TUESDAY)["swaps"] == 1


def test_a_watching_sweep_goes_on_when_something_is_left(costly: Push) -> None:
    hold(trader(), since=noon(MONDAY), volume="1")
    forget()
    command = Command()
    command.is_watching = False
    with pytest.raises(JobFailed):
        run_once(command)
    command.is_watching = True
    assert run_once(command)["unpriced"] == 1
    costly(EURUSD=("1.20000", "1.20000"))
    assert run_once(command)["swaps"] == 1


def run_once(command: Command) -> dict[str, Any]:
    command.stopping, command.as_json = Event(), True
    return command.run(batch=1, dry_run=False, until=noon(TUESDAY))


@pytest.mark.parametrize("until", ["yesterday", "2999-01-01"])
def test_charges_only_nights_that_have_begun(costly: Push, until: str) -> None:
    with pytest.raises(CommandError):
        charge(until)


def test_the_instrument_decides_when_its_day_ends(costly: Push) -> None:
    Instrument.objects.filter(pk="EURUSD").update(time_zone="Europe/London", rollover_at="00:00")
    hold(trader(), since=noon(MONDAY), volume="1")
    charge("2026-01-20T00:00:00Z")
    week = [(MONDAY, 1), (TUESDAY, 1), (WEDNESDAY, 3), (THURSDAY, 1), (FRIDAY, 1), ("2026-01-19", 1)]
    assert [(night, nights) for night, nights, _ in charged()] == week
    assert Swap.objects.order_by("night").values_list("rollover_at", flat=True)[0] == utc("2026-01-13T00:00:00")
    assert charge("2026-01-20T00:00:00Z")["accounts"] == 0
    assert charge("2026-01-21T00:00:00Z")["swaps"] == 1


# --- What the client sees -------------------------------------------------------------------------------------------


def test_a_client_reads_every_night_of_a_position(costly: Push) -> None:
    who = trader()
    position = hold(who, since=noon(MONDAY), volume="1")
    charge(FRIDAY)
    shown = who.api.get(f"/api/v1/positions/{position}").json()
    assert shown["swap"] == "-42.00"
    assert account(who)["balance"] == "19958.00"
    page = who.api.get(f"/api/v1/positions/{position}/swaps?limit=3").json()
    rest = who.api.get(page["next"]).json()
    rows = page["results"] + rest["results"]
    assert [row["night"] for row in rows] == [THURSDAY, WEDNESDAY, TUESDAY, MONDAY]
    assert rest["next"] is None
    newest = rows[1]
    assert (newest["nights"], newest["amount"], newest["rate"], newest["mode"]) == (3, "-21.00", "-7", "POINTS")
    assert (newest["volume"], newest["price"], newest["currency"]) == ("1", "1.20000", "USD")
    assert newest["rollover_at"] == "2026-01-14T22:00:00.000000Z"


def test_every_night_explains_itself_in_figures_that_agree(market: Push) -> None:
    who = trader("60000.00")
    for symbol, volume in (("EURUSD", "0.37"), ("GBPJPY", "0.11"), ("BTCUSD", "0.07")):
        position = hold(who, since=noon(WEDNESDAY), symbol=symbol, volume=volume)
        charge(FRIDAY)
        Instrument.objects.update(contract_size=1)  # what a night kept is what explains it
        newest, oldest = who.api.get(f"/api/v1/positions/{position}/swaps").json()["results"]
        load_instruments()
        for row in (newest, oldest):
            assert row["agrees"] is True
            assert row["lines"][-1]["value"] == row["amount"]
            for line in row["lines"]:
                steps = f"1 × {line['formula']}".split()
                value = Decimal(1)
                for operator, number in zip(steps[1::2], steps[2::2], strict=True):
                    value = value * Decimal(number) if operator == "×" else value / Decimal(number)
                shown = Decimal(line["value"])
                assert value.quantize(shown) == shown, line


def test_a_strangers_nights_do_not_exist(costly: Push) -> None:
    position = hold(trader(), since=noon(MONDAY), volume="1")
    charge(TUESDAY)
    response = bob().api.get(f"/api/v1/positions/{position}/swaps")
    assert (response.status_code, response.json()["code"]) == (404, "POSITION_NOT_FOUND")
