"""Moving money out of a trading account: what open positions need stays."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from tests import ledger_cast
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, key, place, release
from tests.trading.prices import Push
from tests.trading.test_worked_examples import single_cases
from tests.wallets.books import breaks
from trading.models import Quote
from wallets.models import LedgerTransaction, Wallet


def trader(**options: Any) -> CastMember:
    return make_client(margin=Decimal("10000.00"), **options)


def balances(who: CastMember) -> tuple[Decimal, Decimal, Decimal]:
    who.margin.refresh_from_db()
    who.cash.refresh_from_db()
    return who.margin.balance, who.margin.held, who.cash.balance


def assert_refused(response: Any, who: CastMember, status: int, code: str) -> dict[str, Any]:
    """The refusal has this code, the client has what he had, and nothing was moved."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code)
    assert balances(who)[2] == Decimal("1000.00")
    assert not LedgerTransaction.objects.filter(type="TRANSFER").exists()
    return body


def test_moves_free_margin_to_an_own_wallet(market: Push) -> None:
    who = trader()
    body = release(who, amount="2500.00", target=who.cash.number).json()
    assert (body["balance"], body["target_balance"], body["status"]) == ("7500.00", "3500.00", "COMPLETED")
    assert balances(who) == (Decimal("7500.00"), 0, Decimal("3500.00"))


def test_releases_everything_that_is_free_and_not_a_cent_more(market: Push) -> None:
    who = trader()
    place(who, volume="0.50")
    market(EURUSD=("1.19000", "1.19010"))
    free = Decimal(account(who)["free_margin"])
    context = assert_refused(
        release(who, amount=str(free + Decimal("0.01")), target=who.cash.number), who, 422, "FREE_MARGIN_INSUFFICIENT"
    )["context"]
    assert (context["available"], context["shortfall"]) == (str(free), "0.01")
    assert release(who, amount=str(free), target=who.cash.number).status_code == 201
    assert account(who)["free_margin"] == "0.00"


def test_does_not_pay_out_a_floating_profit(market: Push) -> None:
    who = trader()
    place(who, volume="0.01")
    market(EURUSD=("1.50000", "1.50010"))
    assert Decimal(account(who)["free_margin"]) > 10_000
    body = assert_refused(release(who, amount="10000.00", target=who.cash.number), who, 422, "FREE_MARGIN_INSUFFICIENT")
    assert body["context"]["available"] == "9999.96"


def test_does_not_pay_out_credit(market: Push) -> None:
    who = trader()
    ledger_cast.give_credit(who.margin, "500.00")
    place(who, volume="2.00")
    state = account(who)
    available = Decimal(state["free_margin"]) - 500
    body = release(who, amount="9999.00", target=who.cash.number).json()
    assert Decimal(body["context"]["available"]) == available


def credit(who: CastMember) -> Decimal:
    left: Decimal = Wallet.objects.get(pk=who.margin.pk).credit
    return left


WORKED_EXAMPLES = [
    pytest.param(case["balance"], case["bonus"], case["withdraw"], case["expect"], id=case["id"])
    for case in single_cases()
    if case["kind"] == "bonus_removal"
]


@pytest.mark.parametrize("balance, bonus, withdrawn, removed", WORKED_EXAMPLES)
def test_credit_goes_with_the_money_in_proportion(
    committed_market: Push, balance: str, bonus: str, withdrawn: str, removed: str
) -> None:
    who = make_client(margin=Decimal(balance))
    ledger_cast.give_credit(who.margin, bonus)
    body = release(who, amount=f"{withdrawn}.00", target=who.cash.number).json()
    assert Decimal(body["credit_removed"]) == Decimal(removed)
    assert Decimal(body["balance"]) == Decimal(balance) - Decimal(withdrawn)
    assert credit(who) == Decimal(bonus) - Decimal(removed)
    assert account(who)["credit"] == f"{credit(who):.2f}"
    lines = who.api.get(f"/api/v1/wallets/{who.margin.number}/entries").json()["results"][:2]
    assert {line["transaction"] for line in lines} == {body["transaction"]}
    assert {(line["reason"], line["moves"], line["amount"]) for line in lines} == {
        ("TRANSFER", "BALANCE", f"-{withdrawn}.00"),
        ("CREDIT_OUT", "CREDIT", f"-{removed}.00"),
    }
    assert breaks() == {}


def test_credit_is_gone_when_the_money_is(committed_market: Push) -> None:
    who = make_client(margin=Decimal("1000.00"))
    ledger_cast.give_credit(who.margin, "333.33")
    for amount in ("0.01", "333.33", "0.07"):
        release(who, amount=amount, target=who.cash.number)
    left = account(who)["balance"]
    assert release(who, amount=left, target=who.cash.number).status_code == 201
    assert (balances(who)[0], credit(who)) == (0, 0)
    assert release(who, amount="0.01", target=who.cash.number).status_code == 422
    assert breaks() == {}


@pytest.mark.parametrize("bonus", ["0.01", "500.00", "4000.00", "50000.00"])
@pytest.mark.parametrize("price", [("1.19000", "1.19010"), ("1.20000", "1.20010"), ("1.21000", "1.21010")])
def test_the_margin_suffices_at_the_very_edge(market: Push, bonus: str, price: tuple[str, str]) -> None:
    """
    Everything that may leave leaves, and with it its share of the credit: what is held is still covered.

    What stays covers it without any credit, since (free margin - credit) is all that may leave; so however much of the
    credit goes along, free margin ends where the rest of the credit is.
    """
    who = trader()
    ledger_cast.give_credit(who.margin, bonus)
    place(who, volume="0.50")
    market(EURUSD=price)
    before = account(who)
    edge = min(Decimal(before["balance"]), Decimal(before["free_margin"]) - Decimal(bonus))
    refusal = assert_refused(
        release(who, amount=str(edge + Decimal("0.01")), target=who.cash.number), who, 422, "FREE_MARGIN_INSUFFICIENT"
    )
    assert refusal["context"]["available"] == str(edge)
    assert credit(who) == Decimal(bonus)
    body = release(who, amount=str(edge), target=who.cash.number).json()
    after = account(who)
    left = Decimal(bonus) - Decimal(body["credit_removed"])
    assert credit(who) == Decimal(after["credit"]) == left >= 0
    assert Decimal(after["free_margin"]) == Decimal(before["free_margin"]) - edge - Decimal(body["credit_removed"]) >= 0
    assert Decimal(after["margin_level"]) >= 100


@pytest.mark.parametrize(
    "change, code",
    [({"status": "FROZEN"}, "WALLET_NOT_ACTIVE"), ({"withdrawals_enabled": False}, "WITHDRAWALS_FROZEN")],
)
def test_refuses_while_the_wallet_is_stopped(market: Push, change: dict[str, Any], code: str) -> None:
    who = trader()
    Wallet.objects.filter(pk=who.margin.pk).update(**change)
    assert_refused(release(who, amount="1.00", target=who.cash.number), who, 422, code)


def test_hides_another_clients_wallet(market: Push) -> None:
    who, other = trader(), bob()
    assert_refused(release(who, amount="1.00", target=other.cash.number), who, 404, "WALLET_NOT_FOUND")


def test_refuses_the_wallet_it_comes_from(market: Push) -> None:
    who = trader()
    assert_refused(release(who, amount="1.00", target=who.margin.number), who, 422, "RELEASE_TARGET_NOT_ALLOWED")


def test_hides_another_clients_account(market: Push) -> None:
    who, other = trader(), bob()
    response = release(other, amount="1.00", target=other.cash.number, account=who.account.number)
    assert (response.status_code, response.json()["code"]) == (404, "TRADING_ACCOUNT_NOT_FOUND")
    assert balances(who) == (Decimal("10000.00"), 0, Decimal("1000.00"))


def test_refuses_more_decimals_than_the_currency_has(market: Push) -> None:
    who = trader()
    body = assert_refused(release(who, amount="1.001", target=who.cash.number), who, 400, "PRECISION_EXCEEDED")
    assert body["errors"][0]["field"] == "amount"


def test_refuses_while_open_positions_cannot_be_valued(market: Push) -> None:
    who = trader()
    place(who)
    Quote.objects.update(received_at=timezone.now() - timedelta(hours=1))
    assert_refused(release(who, amount="1.00", target=who.cash.number), who, 422, "QUOTE_STALE")


def test_a_plain_transfer_out_of_a_margin_wallet_says_where_to_go(market: Push) -> None:
    who = trader()
    body = {"source": who.margin.number, "target": who.cash.number, "amount": "1.00"}
    response = who.api.post("/api/v1/transfers", body, headers={"Idempotency-Key": key()})
    assert (response.status_code, response.json()["code"]) == (422, "MARGIN_SOURCE_REFUSED")
    assert "/release" in response.json()["detail"]
    assert balances(who) == (Decimal("10000.00"), 0, Decimal("1000.00"))


def reset(who: CastMember) -> Any:
    url = f"/api/v1/trading-accounts/{who.account.number}/demo-reset"
    return who.api.post(url, {}, headers={"Idempotency-Key": key()})


def test_a_demo_account_starts_over(market: Push) -> None:
    who = make_client(environment="DEMO", margin=Decimal("123.45"))
    assert reset(who).json()["balance"] == "10000.00"
    assert reset(who).json()["transaction"] is None
    who.margin.refresh_from_db()
    assert who.margin.balance == Decimal("10000.00")


def test_a_live_account_cannot_be_reset(market: Push) -> None:
    who = trader()
    response = reset(who)
    assert (response.status_code, response.json()["code"]) == (422, "DEMO_ONLY")
    assert balances(who) == (Decimal("10000.00"), 0, Decimal("1000.00"))


def test_an_account_with_open_positions_cannot_be_reset(market: Push) -> None:
    who = make_client(environment="DEMO", margin=Decimal("5000.00"))
    place(who)
    response = reset(who)
    assert (response.status_code, response.json()["code"]) == (422, "POSITIONS_OPEN")
