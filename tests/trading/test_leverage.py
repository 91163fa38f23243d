"""A client's leverage is the strictest of account, desk, instrument and jurisdiction, and every deal says which."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests import database
from tests.cast import CastMember, make_client
from tests.trading.calls import account, close, place
from tests.trading.prices import Push, push
from tests.trading.test_preview import preview
from trading import selectors
from trading.models import Instrument, LeverageCap, Position
from trading.replay import DATA
from trading.services import instruments


def trader(country: str, *, leverage: int = 500) -> CastMember:
    return make_client(margin=Decimal("100000.00"), country=country, leverage=leverage)


def leverage_of(who: CastMember, symbol: str, volume: str = "0.10") -> int:
    """What a position is really opened with; the preview has said so before."""
    shown = preview(who, symbol=symbol, volume=volume)
    assert shown["would_reject"] == []
    order = place(who, symbol=symbol, volume=volume).json()
    position = who.api.get(f"/api/v1/positions/{order['position']['id']}").json()
    assert position["leverage"] == shown["leverage"]
    assert position["margin_initial"] == order["margin"] == shown["required_margin"]
    applied: int = position["leverage"]
    return applied


def instrument(symbol: str, leverage_class: str, **terms: Any) -> None:
    """A copy of EURUSD of another group."""
    made = Instrument.objects.get(pk="EURUSD")
    made.symbol, made.base, made.leverage_class = symbol, symbol[:3], leverage_class
    made.margin_currency = made.base
    for name, value in terms.items():
        setattr(made, name, value)
    made.save(force_insert=True)
    push(**{symbol: ("1.20000", "1.20010")})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data files, to be edited."""
    copied = Path(shutil.copytree(DATA, tmp_path / "data"))
    monkeypatch.setattr(instruments, "DATA", copied)
    return copied


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


# --- The strictest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "country, symbol, leverage",
    [
        ("DE", "EURUSD", 30),  # ESMA's for majors
        ("DE", "BTCUSD", 2),
        ("GB", "EURUSD", 30),
        ("GB", "BTCUSD", 2),
        ("AU", "USDJPY", 30),
        ("", "EURUSD", 30),  # nobody knows where
        ("BR", "EURUSD", 500),  # the account's own
        ("BR", "BTCUSD", 10),  # the desk's
    ],
)
def test_the_law_of_a_clients_country_decides_whatever_the_account_says(
    market: Push, country: str, symbol: str, leverage: int
) -> None:
    assert leverage_of(trader(country), symbol) == leverage


def test_a_desk_may_be_stricter_than_the_law(market: Push) -> None:
    market(GBPCAD=("1.71000", "1.71030"), USDCAD=("1.23000", "1.23014"))
    caps = trader("DE").api.get("/api/v1/instruments/GBPCAD").json()
    assert (caps["leverage_class"], caps["leverage_max"], caps["leverage_caps"]["ESMA"]) == ("FX_MAJOR", 20, 30)
    assert leverage_of(trader("DE"), "GBPCAD") == 20
    assert leverage_of(trader("BR"), "GBPCAD") == 20


def test_an_account_may_be_stricter_than_both(market: Push) -> None:
    assert leverage_of(trader("DE", leverage=7), "EURUSD") == 7


def test_the_desk_limits_all_instruments_at_once(market: Push) -> None:
    who = trader("BR")
    with override_settings(LEVERAGE_MAX=100):
        assert leverage_of(who, "EURUSD") == 100


@pytest.mark.parametrize("jurisdiction", ["ESMA", "FCA", "ASIC"])
def test_every_group_has_the_regulators_number(market: Push, jurisdiction: str) -> None:
    rows = LeverageCap.objects.filter(jurisdiction=jurisdiction).values_list("leverage_class", "leverage_max")
    assert dict(rows) == {
        "FX_MAJOR": 30,
        "FX_MINOR": 20,
        "GOLD": 20,
        "INDEX_MAJOR": 20,
        "INDEX_MINOR": 10,
        "COMMODITY": 10,
        "SHARE": 5,
        "CRYPTO": 2,
    }


@pytest.mark.parametrize("group, leverage", [("FX_MINOR", 20), ("GOLD", 20), ("COMMODITY", 10), ("SHARE", 5)])
def test_the_group_of_an_instrument_decides_its_cap(market: Push, group: str, leverage: int) -> None:
    instrument("TRYUSD", group)
    assert leverage_of(trader("FR"), "TRYUSD") == leverage


def test_the_margin_is_the_strictest_leverages(market: Push) -> None:
    # 0.10 · 100,000 EUR ÷ 30, and ÷ 500, at the ask 1.20010
    assert place(trader("DE"), volume="0.10").json()["margin"] == "400.03"
    assert place(trader("BR"), volume="0.10").json()["margin"] == "24.00"


def test_what_the_margin_does_not_cover_under_the_cap_is_refused(market: Push) -> None:
    who = make_client(margin=Decimal("399.00"), country="DE", leverage=500)
    shown = preview(who, volume="0.10")
    assert (shown["leverage"], [one["code"] for one in shown["would_reject"]]) == (30, ["MARGIN_INSUFFICIENT"])
    response = place(who, volume="0.10")
    assert (response.status_code, response.json()["code"]) == (422, "MARGIN_INSUFFICIENT")
    assert not Position.objects.exists()


def test_a_preview_without_a_price_tells_the_leverage_all_the_same(market: Push) -> None:
    shown = preview(trader("DE"), symbol="ETHUSD")  # nobody has quoted it
    assert (shown["price"], shown["required_margin"], shown["leverage"]) == (None, None, 2)


# --- The caps are data ----------------------------------------------------------------------------------------------


def test_a_changed_cap_counts_for_new_orders_and_open_positions_keep_theirs(market: Push, data: Path) -> None:
    who = trader("DE")
    before = place(who, volume="0.10").json()
    edit(data / "leverage_caps.csv", "ESMA,FX_MAJOR,30", "ESMA,FX_MAJOR,15")
    held, caps = account(who)["held"], LeverageCap.objects.count()
    instruments.load_instruments()
    assert LeverageCap.objects.count() == caps
    assert account(who)["held"] == held == "400.03"
    kept = who.api.get(f"/api/v1/positions/{before['position']['id']}").json()
    assert (kept["leverage"], kept["margin_locked"]) == (30, "400.03")

    after = place(who, volume="0.10").json()
    assert (after["margin"], account(who)["held"]) == ("800.07", "1200.10")
    assert close(who, before["position"]["id"]).json()["margin_released"] == "400.03"
    assert account(who)["held"] == "800.07"
    explained = who.api.get(f"/api/v1/deals/{before['deal']}/explain").json()
    assert explained["agrees"] is True
    assert leverage_of(trader("GB"), "EURUSD") == 30


@pytest.mark.parametrize(
    "old, new",
    [
        ("FCA,CRYPTO,2\n", ""),  # a gap
        ("FCA,CRYPTO,2", "FCA,CRYPTOS,2"),  # a group that there is not
        ("ESMA,GOLD,20", "EMSA,GOLD,20"),  # a jurisdiction that there is not
        ("ESMA,GOLD,20", "DESK,GOLD,20"),  # the desk's own caps are an instrument's
    ],
)
def test_caps_with_a_gap_are_not_loaded(market: Push, data: Path, old: str, new: str) -> None:
    edit(data / "leverage_caps.csv", "ESMA,FX_MAJOR,30", "ESMA,FX_MAJOR,99")
    edit(data / "leverage_caps.csv", old, new)
    with pytest.raises(ValueError, match="leverage_caps"):
        instruments.load_instruments()
    assert LeverageCap.objects.get(jurisdiction="ESMA", leverage_class="FX_MAJOR").leverage_max == 30


def test_a_group_that_there_is_not_stops_the_load(market: Push, data: Path) -> None:
    edit(data / "terms.csv", "US dollar / yen,FX_MAJOR", "US dollar / yen,MAJOR")
    with pytest.raises(ValueError, match="MAJOR"):
        instruments.load_instruments()
    assert Instrument.objects.get(pk="USDJPY").leverage_class == "FX_MAJOR"


def test_a_jurisdiction_has_one_cap_for_a_group_and_it_is_a_leverage(market: Push) -> None:
    for row in (("ESMA", "GOLD", 20), ("ESMB", "GOLD", 0)):
        with pytest.raises(IntegrityError), transaction.atomic():
            LeverageCap.objects.create(jurisdiction=row[0], leverage_class=row[1], leverage_max=row[2])
    with pytest.raises(IntegrityError), transaction.atomic():
        Instrument.objects.update(leverage_max=0)


def test_the_caps_ride_along_with_the_prices(market: Push) -> None:
    with CaptureQueriesContext(connection) as queries:
        now = selectors.market(timezone.now())
    assert len(queries) == 1
    assert now.leverage_caps["BTCUSD"] == {"ESMA": 2, "FCA": 2, "ASIC": 2}
    assert now.leverage_caps.keys() == now.instruments.keys()


# --- Told -----------------------------------------------------------------------------------------------------------


def test_instruments_show_the_caps_and_accounts_whose_they_are(market: Push) -> None:
    who = trader("DE")
    shown = {row["symbol"]: row for row in who.api.get("/api/v1/instruments").json()["results"]}
    assert {row["leverage_class"] for row in shown.values()} == {"FX_MAJOR", "CRYPTO"}
    assert shown["EURUSD"]["leverage_caps"] == {"ESMA": 30, "FCA": 30, "ASIC": 30}
    assert (shown["EURUSD"]["leverage_max"], shown["BTCUSD"]["leverage_max"]) == (None, 10)
    assert account(who)["jurisdiction"] == "ESMA"
    assert [row["jurisdiction"] for row in who.api.get("/api/v1/trading-accounts").json()["results"]] == ["ESMA"]


def lines_of(who: CastMember, order: dict[str, Any]) -> list[tuple[str, str, str]]:
    document = who.api.get(f"/api/v1/deals/{order['deal']}/explain").json()
    assert document["agrees"] is True
    (margin,) = (section for section in document["sections"] if section["name"] == "margin")
    return [(line["label"], line["formula"], line["value"]) for line in margin["lines"]]


def test_a_deal_explains_which_limit_decided_and_by_how_much(market: Push) -> None:
    who = trader("DE", leverage=400)
    order = place(who, symbol="BTCUSD", volume="0.10").json()
    LeverageCap.objects.update(leverage_max=1)  # what a deal kept is what explains it
    assert lines_of(who, order)[:5] == [
        ("Leverage allowed by the account", "400", "400"),
        ("Leverage allowed by the desk", "500", "500"),
        ("Leverage allowed by the desk in BTCUSD", "10", "10"),
        ("Leverage allowed by ESMA in CRYPTO", "2", "2"),
        ("The strictest, of ESMA in CRYPTO, 8 below the next", "min(400, 500, 10, 2)", "2"),
    ]


def test_limits_that_nobody_sets_are_left_out_and_equals_are_named_together(market: Push) -> None:
    who = trader("BR", leverage=500)
    assert lines_of(who, place(who).json())[:3] == [
        ("Leverage allowed by the account", "500", "500"),
        ("Leverage allowed by the desk", "500", "500"),
        ("The strictest, of the account and the desk", "min(500, 500)", "500"),
    ]


def test_a_margin_that_no_leverage_divides_names_none(market: Push) -> None:
    instrument("XAUUSD", "GOLD", calculation="CFD", margin_currency="USD", margin_rate=Decimal("0.05"))
    who = trader("DE")
    labels = [label for label, _, _ in lines_of(who, place(who, symbol="XAUUSD").json())]
    assert not any("everage" in label for label in labels)


def test_a_deal_from_before_the_limits_were_kept_is_explained_without_them(market: Push) -> None:
    who = trader("DE")
    order = place(who).json()
    with database.unguarded() as cursor:
        cursor.execute("UPDATE trading_deal SET inputs = inputs - 'leverage_limits' WHERE id = %s", [order["deal"]])
        assert cursor.rowcount == 1
    assert lines_of(who, order)[0][0].startswith("Lots")
