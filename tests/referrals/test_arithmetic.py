"""Rewards as pure arithmetic: the published example, the cap, and that no rounding is ever up."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from referrals import arithmetic
from referrals.arithmetic import Execution, revenue
from trading.margin import Conversion

CENT = Decimal("0.01")
SAME = Conversion.along(())
ZERO = Decimal(0)
CASES = Path(__file__).parent.parent / "trading" / "cases" / "trading.json"
D = Decimal


def referral_cases() -> list[dict[str, Any]]:
    cases = json.loads(CASES.read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if case["kind"] == "referral"]


def test_the_published_example_is_there() -> None:
    assert [case["id"] for case in referral_cases()] == ["WE-27"]


@pytest.mark.parametrize("case", referral_cases(), ids=lambda case: str(case["id"]))
def test_a_published_plan_per_lot_pays_what_it_says(case: dict[str, Any]) -> None:
    rates = [D(rate) for rate in case["rates"]]
    wanted = arithmetic.wanted_per_lot(rates, lots=D(case["lots"]), weight=D(1), conversion=SAME)
    assert arithmetic.shares(wanted, pool=D(1000), unit=CENT) == [D(amount) for amount in case["expect"]]


# --- What the broker earned -------------------------------------------------------------------------------------------


def lot(*, volume: str = "1", commission: str = "3.50", bid: str = "1.20000", ask: str = "1.20010") -> Execution:
    return Execution(D(volume), D(commission), D(bid), D(ask))


def earned(
    opening: Execution, closing: Execution, *, conversion: Conversion = SAME, compensation: Decimal = ZERO
) -> arithmetic.Revenue:
    return revenue(opening, closing, contract_size=D(100_000), conversion=conversion, compensation=compensation)


def test_a_round_trip_earns_both_commissions_and_a_whole_spread() -> None:
    found = earned(lot(), lot(bid="1.30000", ask="1.30030"))
    assert found.commission == 7
    assert found.spread == 20  # half of 10 points in, half of 30 out, on 100,000
    assert found.total == 27


def test_without_commission_the_spread_is_what_is_earned() -> None:
    assert earned(lot(commission="0"), lot(commission="0")).total == 10


def test_a_spread_is_turned_into_the_accounts_currency_by_the_deals_own_prices() -> None:
    path = ["1 / USDJPY ask 100.00"]
    found = earned(
        lot(commission="0", bid="100.00", ask="100.02"),
        lot(commission="0", bid="100.00", ask="100.02"),
        conversion=Conversion.along(path),
    )
    assert found.spread == 20


def test_what_the_house_had_to_pay_was_not_earned() -> None:
    assert earned(lot(), lot(), compensation=D("12.00")).total == 5
    assert earned(lot(), lot(), compensation=D("500.00")).total == 0


def test_parts_of_a_position_share_its_opening_commission() -> None:
    parts = [earned(lot(volume="3", commission="10.00"), lot(commission="0")) for _ in range(3)]
    assert [part.commission for part in parts] == [D("3.33333333")] * 3
    assert sum(part.commission for part in parts) <= 10


@pytest.mark.parametrize(
    "opening, closing, compensation",
    [
        (lot(volume="1"), lot(volume="2"), "0"),
        (lot(), lot(commission="-1"), "0"),
        (lot(), lot(), "-1"),
        (lot(bid="1.30000", ask="1.20000"), lot(bid="1.30000", ask="1.20000"), "0"),
    ],
)
def test_figures_that_no_deals_can_have_are_refused(opening: Execution, closing: Execution, compensation: str) -> None:
    with pytest.raises(ValueError):
        earned(opening, closing, compensation=D(compensation))


# --- Who gets how much ------------------------------------------------------------------------------------------------


def test_a_pool_that_covers_everything_leaves_every_share_as_it_is() -> None:
    assert arithmetic.shares([D(5), D(1), D("0.50")], pool=D("6.50"), unit=CENT) == [D(5), D(1), D("0.50")]


def test_a_pool_that_does_not_cuts_every_level_by_the_same_part() -> None:
    assert arithmetic.shares([D(5), D(1), D("0.50")], pool=D("3.25"), unit=CENT) == [D("2.50"), D("0.50"), D("0.25")]


def test_shares_are_rounded_down_at_the_currencys_own_unit() -> None:
    assert arithmetic.shares([D("5.999"), D("0.009")], pool=D(100), unit=CENT) == [D("5.99"), D(0)]
    assert arithmetic.shares([D("5.999")], pool=D(100), unit=D(1)) == [D(5)]
    assert arithmetic.pool(D("10.019"), cap_percent=D(60), unit=CENT) == D("6.01")


def test_thirds_never_add_up_to_more_than_there_is() -> None:
    shares = arithmetic.shares([D(1), D(1), D(1)], pool=D("0.02"), unit=CENT)
    assert shares == [D(0)] * 3


def test_a_rate_is_only_one_that_the_deal_was_booked_with() -> None:
    kept = {"USD": ["1 / EURUSD ask 1.25"]}
    found = arithmetic.kept_conversion("USD", "EUR", kept=kept)
    assert found is not None
    assert arithmetic.wanted_per_lot([D(5)], lots=D(2), weight=D(1), conversion=found) == [8]
    assert arithmetic.kept_conversion("GBP", "EUR", kept=kept) is None
    assert arithmetic.kept_conversion("EUR", "EUR", kept={}) == SAME


def test_a_percentage_is_of_the_commission_alone() -> None:
    assert arithmetic.wanted_of_commission([D(20), D(5)], commission=D(7)) == [D("1.4"), D("0.35")]


# --- The cap ----------------------------------------------------------------------------------------------------------

#: The steps in which money is booked, in yen, dollars, dinars and bitcoin.
UNITS = (D(1), D("0.01"), D("0.001"), D("0.00000001"))
TRIALS = 10_000


def test_the_cap_holds_for_ten_thousand_deals_and_plans() -> None:
    dice = random.Random(27)

    def some(low: str, high: str, digits: int) -> Decimal:
        scale: int = 10**digits
        return D(dice.randint(int(D(low) * scale), int(D(high) * scale))) / scale

    cut = paid = 0
    for trial in range(TRIALS):
        volume = some("0.01", "500", 4)
        opened = volume + some("0", "500", 4) * dice.randint(0, 1)
        bid = some("0.00001", "50000", 5)
        opening = Execution(opened, some("0", "2000", 8), bid, bid + some("0", "3", 5))
        closing = Execution(volume, some("0", "2000", 8), bid, bid + some("0", "3", 5))
        path = [f"1 / USDXYZ ask {some('0.3', '180', 5)}"] * dice.randint(0, 1)
        found = revenue(
            opening,
            closing,
            contract_size=dice.choice([D(1), D(100), D(100_000)]),
            conversion=Conversion.along(path),
            compensation=some("0", "100", 2) * dice.randint(0, 1),
        )
        cap, unit = some("0.01", "100", 2), dice.choice(UNITS)
        rates = [some("0", "50", 8) for _ in range(dice.randint(1, 3))]
        if dice.random() < 0.5:
            wanted = arithmetic.wanted_of_commission(rates, commission=found.commission)
        else:
            wanted = arithmetic.wanted_per_lot(
                rates, lots=volume, weight=some("0", "3", 2), conversion=Conversion.along(path)
            )
        pool = arithmetic.pool(found.total, cap_percent=cap, unit=unit)
        shares = arithmetic.shares(wanted, pool=pool, unit=unit)

        assert sum(shares) <= pool, trial
        assert sum(shares) * 100 <= found.total * cap, trial
        assert sum(shares) <= found.total, trial
        assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True)), trial
        assert all(share % unit == 0 for share in shares), trial
        cut += sum(wanted) > pool
        paid += sum(shares) > 0
    # Both sides of the cap were really tried.
    assert TRIALS / 10 < cut < TRIALS * 9 / 10
    assert paid > TRIALS / 2
