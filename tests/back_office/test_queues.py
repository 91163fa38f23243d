"""Whatever waits for a decision is found, told about truthfully, and decided by those who may, once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Freeze, User, Verification
from accounts.services import freezes
from config.back_office.pages import PAGES
from config.back_office.queues import risk, selectors
from config.back_office.queues.looks import age
from config.back_office.queues.names import Likeness, likeness
from core.ids import uuid7
from core.models import AuditEvent, KillSwitch
from referrals.models import Commission
from tests import cast
from tests.accounts.test_back_office import enlist, log_in, noon, office
from tests.cast import CastMember
from tests.referrals.deals import closed, lineage, plan, run
from tests.trading import prices
from tests.trading.prices import Push
from tests.wallets.calls import balances, bank_account, books, deposit, withdraw
from wallets.models import Adjustment, BankAccount, Deposit, Kind, LedgerTransaction, Wallet, Withdrawal
from wallets.services import adjustments

__all__ = ["noon"]  # the clock stands still for a code, in every test here as well

CAROL, DAN = "carol@desk.example", "dan@desk.example"


@pytest.fixture
def market(db: None) -> Push:
    """Instruments and fresh prices."""
    return prices.open_market()


def desk(role: str, email: str) -> Client:
    """A second member of staff in a role."""
    return log_in(enlist(role, email))[0]  # type: ignore[no-any-return]


def press(client: Client, name: str, row: Any, step: str, reason: str = "as agreed", **more: str) -> str:
    """Press a button of a page, and read the page it leads to."""
    path = reverse(f"admin:{name}", args=[row.pk])
    response = client.post(path, {"step": step, "reason": reason, **more}, follow=True)
    assert response.status_code == 200
    assert response.redirect_chain == [(path, 302)]
    return response.content.decode()


def look(staff: Client, name: str, *args: Any, **query: str) -> str:
    response = staff.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def asked(who: CastMember, amount: str = "100.00") -> Withdrawal:
    if not BankAccount.objects.filter(owner=who.user).exists():
        bank_account(who)
    response = withdraw(who, amount)
    assert response.status_code == 201, response.content
    return Withdrawal.objects.get(pk=response.json()["id"])


def titles(withdrawal: Withdrawal) -> set[str]:
    """The flags of a withdrawal."""
    row = Withdrawal.objects.select_related("owner", "bank_account").get(pk=withdrawal.pk)
    return {check.title for check in risk.checks(row, risk.facts_of([row.pk])[row.pk]) if check.variant}


# --- Withdrawals ----------------------------------------------------------------------------------------------------


def test_a_withdrawal_goes_its_way_by_buttons(db: None) -> None:
    alice, finance = cast.alice(), office("finance")
    first, second = asked(alice), asked(alice)
    for step in ("REVIEW", "APPROVE"):
        press(finance, "withdrawal", first, step)
    assert "Marked as sent." in press(finance, "withdrawal", first, "SEND", bank_reference="SEPA-1")
    press(finance, "withdrawal", first, "COMPLETE")
    assert "hold is released" in press(finance, "withdrawal", second, "REJECT", reason="not the client")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.bank_reference) == ("COMPLETED", "SEPA-1")
    assert (second.status, second.reason) == ("REJECTED", "not the client")
    assert balances(alice) == (Decimal("900.00"), Decimal(0))
    assert AuditEvent.objects.filter(action="wallets.withdrawal.sent", reason="as agreed").count() == 1


def test_a_large_one_takes_two_people_and_says_who_was_first(db: None, settings: Any) -> None:
    settings.WITHDRAWAL_TWO_PERSON_FROM = Decimal(100)
    row = asked(cast.alice())
    carol, dan = desk("finance", CAROL), desk("finance", DAN)
    User.objects.filter(email=CAROL).update(name="Carol Crane")
    press(carol, "withdrawal", row, "REVIEW")
    assert "the first approval leaves it in review" in look(carol, "withdrawal", row.pk)
    press(carol, "withdrawal", row, "APPROVE")
    assert "Carol Crane gave the first of two approvals" in look(dan, "withdrawal", row.pk)
    assert "Carol Crane" in look(dan, "withdrawal_queue")
    assert "You gave the first of two approvals" in look(carol, "withdrawal", row.pk)

    before = books()
    page = press(carol, "withdrawal", row, "APPROVE")
    assert "approved by two different people, and you are the first" in page
    row.refresh_from_db()
    assert (row.status, row.second_approved_by, books()) == ("IN_REVIEW", None, before)

    press(dan, "withdrawal", row, "APPROVE")
    row.refresh_from_db()
    assert (row.status, row.second_approved_by) == ("APPROVED", User.objects.get(email=DAN))


def test_what_the_service_refuses_is_said_and_changes_nothing(db: None) -> None:
    row, finance = asked(cast.alice()), office("finance")
    before = books()
    assert "Say why" in press(finance, "withdrawal", row, "REVIEW", reason=" ")
    assert "APPROVE is possible only from IN_REVIEW" in press(finance, "withdrawal", row, "APPROVE")
    assert "at most 500 characters" in press(finance, "withdrawal", row, "REVIEW", reason="x" * 501)
    path = reverse("admin:withdrawal", args=[row.pk])
    assert finance.post(path, {"step": "GIVE", "reason": "x"}).status_code == 400
    assert (
        finance.post(reverse("admin:withdrawal", args=[uuid7()]), {"step": "REVIEW", "reason": "x"}).status_code == 302
    )
    assert finance.get(reverse("admin:withdrawal", args=[uuid7()])).status_code == 404
    assert books() == before


@pytest.mark.parametrize("role", ["support", "kyc", "dealing", "auditor"])
def test_a_forged_decision_by_another_role_changes_nothing(db: None, role: str, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    alice, other = cast.alice(), office(role)
    rows = {"withdrawal": (asked(alice), "REJECT"), "deposit": (announced(alice), "REJECT")}
    rows["adjustment"] = (proposed(alice), "APPROVE")
    before = books(), Adjustment.objects.get().status
    for name, (row, step) in rows.items():
        path = reverse(f"admin:{name}", args=[row.pk])
        assert other.post(path, {"step": step, "reason": "mine"}).status_code == 403
        page = other.get(path)
        assert page.status_code == 403 or 'name="step"' not in page.content.decode()
    terms = {"wallet": alice.cash.number, "key": str(uuid7()), "direction": "CREDIT", "amount": "1", "reason": "mine"}
    assert other.post(reverse("admin:adjustment_new"), terms).status_code == 403
    assert (books(), Adjustment.objects.get().status) == before


def test_a_form_without_its_token_is_refused(db: None) -> None:
    row = asked(cast.alice())
    finance = office("finance")
    forger = Client(enforce_csrf_checks=True)
    forger.cookies = finance.cookies
    path = reverse("admin:withdrawal", args=[row.pk])
    assert forger.post(path, {"step": "REVIEW", "reason": "x"}, REMOTE_ADDR="198.51.100.9").status_code == 403
    row.refresh_from_db()
    assert row.status == "REQUESTED"


def test_the_queue_is_oldest_first_and_goes_on(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "ROWS", 2)
    alice, finance = cast.alice(), office("finance")
    rows = [asked(alice, f"{number}.00") for number in (11, 12, 13, 14, 15)]
    for hours, row in enumerate(rows):
        Withdrawal.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(hours=hours))
    page, seen = look(finance, "withdrawal_queue"), list[str]()
    while True:
        seen += re.findall(r">(1[1-5]\.00) USD<", page)
        further = re.search(r'href="\?[^"]*after=([0-9a-f-]{36})', page)
        if further is None:
            break
        page = look(finance, "withdrawal_queue", after=further[1])
    assert seen == ["15.00", "14.00", "13.00", "12.00", "11.00"]
    for beginning in ("nonsense", str(uuid7())):
        assert "15.00" in look(finance, "withdrawal_queue", after=beginning)


def test_the_queue_can_be_one_states(db: None) -> None:
    alice, finance = cast.alice(), office("finance")
    waiting, begun, ended = asked(alice, "11.00"), asked(alice, "12.00"), asked(alice, "13.00")
    press(finance, "withdrawal", begun, "REVIEW")
    press(finance, "withdrawal", ended, "REJECT")
    assert [row.pk for row in selectors.withdrawals("IN_REVIEW")] == [begun.pk]
    page = look(finance, "withdrawal_queue", status="REQUESTED")
    assert str(waiting.pk) in page
    assert str(begun.pk) not in page
    everything = look(finance, "withdrawal_queue", status="COMPLETED")
    assert [str(row.pk) in everything for row in (waiting, begun, ended)] == [True, True, False]


def test_a_page_costs_the_same_however_many_are_on_it(db: None) -> None:
    alice, finance = cast.alice(), office("finance")

    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            look(finance, "withdrawal_queue")
        return len(captured)

    asked(alice, "1.00")
    few = statements()
    for _ in range(6):
        asked(alice, "1.00")
    assert statements() == few


# --- Risk -----------------------------------------------------------------------------------------------------------


def test_a_first_withdrawal_to_a_new_account_of_somebody_who_never_traded_is_flagged(db: None, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "sandbox"
    alice = cast.alice()
    assert deposit(alice, "100.00").status_code == 201
    row = asked(alice, "80.00")
    assert titles(row) == {"First withdrawal", "New bank account", "In and out", "Large share of deposits"}
    page = look(office("finance"), "withdrawal", row.pk)
    assert "80 % of the 100.00 USD that was deposited." in page
    assert "Not traded since the last deposit" in page


def test_what_is_in_order_is_not_flagged(market: Push, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "sandbox"
    plan()
    trader, _ = lineage(1)
    assert deposit(trader, "1000.00").status_code == 201
    closed(trader)
    Deposit.objects.update(completed_at=timezone.now() - timedelta(days=40))
    bank_account(trader)
    BankAccount.objects.update(created_at=timezone.now() - timedelta(days=30))
    paid = asked(trader, "10.00")
    Withdrawal.objects.filter(pk=paid.pk).update(
        status="COMPLETED",
        approved_by=cast.carol_staff().user,
        transaction=LedgerTransaction.objects.filter(owner=trader.user).first(),
    )
    assert titles(asked(trader, "10.00")) == set()


def test_demo_trading_is_no_trading(market: Push, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "sandbox"
    trader, _ = lineage(1)
    assert deposit(trader, "1000.00").status_code == 201
    closed(trader)
    row = asked(trader, "10.00")
    assert "In and out" not in titles(row)
    trader.account.environment = "DEMO"
    trader.account.save(update_fields=["environment"])
    assert "In and out" in titles(row)


def test_freezes_shared_accounts_and_another_name_are_flagged(db: None) -> None:
    alice, bob, staff = cast.alice(), cast.bob(), cast.carol_staff()
    row = asked(alice)
    bank_account(bob)
    BankAccount.objects.filter(owner=alice.user).update(holder="Bob Bennett")
    freezes.place_freeze(owner=alice.user.pk, scope=Freeze.Scope.TRADING, reason="Odd", actor=staff.actor)
    assert titles(row) >= {"Name differs", "Shared bank account", "Frozen", "Never deposited"}
    page = look(office("finance"), "withdrawal_queue")
    assert "Name differs" in page
    assert "The account holder is Bob Bennett, the client Alice Archer." in page


@pytest.mark.parametrize(
    "one,other,expected",
    [
        ("Alice Archer", "ALICE ARCHER", Likeness.SAME),
        ("Alice Archer", "Archer, Alice", Likeness.SAME),
        ("Dr. Jürgen Müller", "JUERGEN MUELLER", Likeness.SAME),
        ("José Núñez", "Jose Nunez", Likeness.SAME),
        ("Søren Łukasz", "Soren Lukasz", Likeness.SAME),
        ("Sinead O'Connor", "SINEAD OCONNOR", Likeness.SAME),
        ("Μαρία Παπαδοπούλου", "ΜΑΡΙΑ ΠΑΠΑΔΟΠΟΥΛΟΥ", Likeness.SAME),
        ("Alice Mary Archer", "Alice Archer", Likeness.SIMILAR),
        ("A. Archer", "Alice Archer", Likeness.SIMILAR),
        ("Alice Archer", "Alice Bennett", Likeness.DIFFERENT),
        ("Alice", "Alice Archer", Likeness.DIFFERENT),
        ("A. A.", "Alice Archer", Likeness.DIFFERENT),
        ("Li Li", "Li", Likeness.DIFFERENT),
        ("Alice Archer", "Bob Bennett", Likeness.DIFFERENT),
        ("Archer Holdings Ltd", "Alice Archer", Likeness.DIFFERENT),
        ("", "", Likeness.DIFFERENT),
        ("…", "Alice Archer", Likeness.DIFFERENT),
    ],
)
def test_names_are_compared_as_people_would(one: str, other: str, expected: Likeness) -> None:
    assert (likeness(one, other), likeness(other, one)) == (expected, expected)


# --- Deposits -------------------------------------------------------------------------------------------------------


def announced(who: CastMember, amount: str = "250.00") -> Deposit:
    return Deposit.objects.get(pk=deposit(who, amount).json()["id"])


def test_a_deposit_is_found_credited_and_taken_back(db: None, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    alice, finance = cast.alice(), office("finance")
    here, gone = announced(alice), announced(alice, "70.00")
    page = look(finance, "deposit_queue")
    assert str(here.pk) in page
    assert "Credited." in press(finance, "deposit", here, "APPROVE", reference="STATEMENT-7")
    assert balances(alice)[0] == Decimal("1250.00")
    press(finance, "deposit", gone, "REJECT", reason="never came")
    assert "Reversed." in press(finance, "deposit", here, "REVERSE", reason="charged back")
    assert balances(alice)[0] == Decimal("1000.00")
    page = look(finance, "deposit_queue")
    assert [str(row.pk) in page for row in (here, gone)] == [False, False]
    assert Deposit.objects.get(pk=here.pk).provider_reference == "STATEMENT-7"


def test_one_payment_credits_one_deposit(db: None, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    alice, finance = cast.alice(), office("finance")
    first, second = announced(alice), announced(alice)
    press(finance, "deposit", first, "APPROVE", reference="STATEMENT-7")
    before = books()
    page = press(finance, "deposit", second, "APPROVE", reference="STATEMENT-7")
    assert "STATEMENT-7" in page
    assert books() == before


# --- Verifications --------------------------------------------------------------------------------------------------


def submitted(who: CastMember) -> Verification:
    return Verification.objects.create(
        owner=who.user,
        status="SUBMITTED",
        submitted_at=timezone.now() - timedelta(hours=5),
        documents=[{"kind": "PASSPORT", "reference": "C01X00T47", "submitted_at": "2026-11-20T10:00:00+00:00"}],
    )


def test_a_verification_is_read_asked_about_and_approved(db: None) -> None:
    client, kyc = cast.make_client(name="Vera Voss", country="DE", verified=False), office("kyc")
    row = submitted(client)
    page = look(kyc, "verification_queue")
    assert all(text in page for text in ("Vera Voss", "DE", "5 h 0 min", "PASSPORT"))
    assert "cannot become APPROVED" in press(kyc, "verification", row, "APPROVED")
    press(kyc, "verification", row, "IN_REVIEW")
    assert "Sent back" in press(kyc, "verification", row, "ACTION_REQUIRED", reason="The second page, please")
    assert client.api.get("/api/v1/me").json()["verification"]["action_required"] == "The second page, please"
    assert str(row.pk) not in look(kyc, "verification_queue")
    Verification.objects.filter(pk=row.pk).update(status="IN_REVIEW")
    press(kyc, "verification", row, "APPROVED")
    assert set(Wallet.objects.filter(owner=client.user).values_list("verified", flat=True)) == {True}


def test_support_does_not_read_a_passports_number(db: None) -> None:
    row = submitted(cast.make_client(verified=False))
    page = look(office("support"), "verification", row.pk)
    assert "PASSPORT" in page
    assert "C01X00T47" not in page
    assert 'name="step"' not in page


def test_support_decides_about_nobody(db: None) -> None:
    row, support = submitted(cast.make_client(verified=False)), office("support")
    path = reverse("admin:verification", args=[row.pk])
    assert support.post(path, {"step": "IN_REVIEW", "reason": "x"}).status_code == 403
    row.refresh_from_db()
    assert row.status == "SUBMITTED"


# --- Adjustments ----------------------------------------------------------------------------------------------------


def proposed(who: CastMember) -> Adjustment:
    maker = cast.carol_staff(email=f"maker-{uuid7()}@example.com", name="Mara Maker")
    terms: Any = {"direction": "CREDIT", "amount": Decimal("25.00"), "key": str(uuid7())}
    return adjustments.propose_adjustment(wallet=who.cash.number, reason="a fee", actor=maker.actor, **terms)


def fill_in(client: Client, wallet: Wallet, **more: str) -> Any:
    page = look(client, "adjustment_new", wallet=wallet.number)
    key = re.search(r'name="key" value="([0-9a-f-]{36})"', page)
    assert key is not None, page
    form = {"wallet": wallet.number, "key": key[1], "direction": "CREDIT", "amount": "25.00", "reason": "a fee"} | more
    return client.post(reverse("admin:adjustment_new"), form, follow=True)


def test_one_fills_in_the_form_and_another_one_approves(db: None) -> None:
    alice, carol, dan = cast.alice(), desk("finance", CAROL), desk("finance", DAN)
    assert "Alice Archer" in look(carol, "adjustment_new", wallet=alice.cash.number)
    page = fill_in(carol, alice.cash, reference="Ticket 9").content.decode()
    assert "somebody else decides about it" in page
    row = Adjustment.objects.get()
    assert (row.amount, row.reference, row.proposed_by) == (Decimal(25), "Ticket 9", User.objects.get(email=CAROL))
    assert str(row.pk) in look(dan, "adjustment_queue")

    before = books()
    assert "does not decide about it" in press(carol, "adjustment", row, "APPROVE")
    assert books() == before
    assert "Approved and posted." in press(dan, "adjustment", row, "APPROVE")
    assert balances(alice)[0] == Decimal("1025.00")
    assert "already" in press(dan, "adjustment", row, "REJECT")
    assert balances(alice)[0] == Decimal("1025.00")


def test_a_form_sent_twice_proposes_once(db: None) -> None:
    alice, carol = cast.alice(), desk("finance", CAROL)
    key = str(uuid7())
    for _ in range(2):
        page = fill_in(carol, alice.cash, key=key).content.decode()
    assert "This form has been sent" in page
    assert Adjustment.objects.count() == 1


@pytest.mark.parametrize("amount", ["0", "-5", "NaN", "Infinity", "1.001", "1e99", "ten", ""])
def test_what_is_no_amount_is_not_proposed(db: None, amount: str) -> None:
    response = fill_in(desk("finance", CAROL), cast.alice().cash, amount=amount)
    assert response.status_code == 200
    assert not Adjustment.objects.exists()


def test_a_margin_wallet_is_looked_at_and_refused(db: None) -> None:
    trader, carol = cast.make_client(margin=Decimal(500)), desk("finance", CAROL)
    assert "only cash wallets are adjusted" in fill_in(carol, trader.margin).content.decode()
    assert "No client has a wallet W1." in look(carol, "adjustment_new", wallet="W1")
    assert not Adjustment.objects.exists()
    assert Wallet.objects.get(pk=trader.margin.pk).kind == Kind.MARGIN


def test_a_debit_that_finds_too_little_is_refused_and_can_be_withdrawn(db: None) -> None:
    alice, carol, dan = cast.alice(), desk("finance", CAROL), desk("finance", DAN)
    fill_in(carol, alice.cash, direction="DEBIT", amount="1000.01")
    row = Adjustment.objects.get()
    assert "1000.01 USD is needed and 1000.00 USD is available" in press(dan, "adjustment", row, "APPROVE")
    assert "Only whoever proposed" in press(dan, "adjustment", row, "WITHDRAW")
    press(carol, "adjustment", row, "WITHDRAW")
    row.refresh_from_db()
    assert (row.status, balances(alice)[0]) == ("WITHDRAWN", Decimal("1000.00"))


# --- Commissions ----------------------------------------------------------------------------------------------------


def test_commissions_are_approved_and_reversed(market: Push) -> None:
    plan()
    client, _ = lineage(2)
    closed(client)
    run("accrue_commissions")
    finance, auditor = office("finance"), office("auditor")
    first, second = Commission.objects.order_by("level")
    page = look(finance, "commission_queue")
    assert [str(row.pk) in page for row in (first, second)] == [True, True]
    path = reverse("admin:commission", args=[first.pk])
    assert auditor.post(path, {"step": "REVERSE", "reason": "mine"}).status_code == 403
    assert "Approved." in press(finance, "commission", first, "APPROVE")
    assert "Reversed." in press(finance, "commission", second, "REVERSE", reason="wash trading")
    assert "REVERSED" in press(finance, "commission", second, "REVERSE")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status, second.reason) == ("APPROVED", "REVERSED", "wash trading")
    assert str(first.pk) not in look(finance, "commission_queue")


# --- Freezes --------------------------------------------------------------------------------------------------------


def test_a_freeze_is_placed_until_a_day_and_lifted_by_somebody_else(db: None) -> None:
    alice, carol, dan = cast.alice(), desk("kyc", CAROL), desk("kyc", DAN)
    assert f'value="{alice.user.pk}"' in look(carol, "freeze_new", client=str(alice.user.pk))
    until = (timezone.now() + timedelta(days=3)).replace(second=0, microsecond=0)
    form = {"client": "Alice@example.com", "scope": "WITHDRAWALS", "reason": "Alert 7"}
    page = carol.post(reverse("admin:freeze_new"), form | {"expires_at": until.strftime("%Y-%m-%dT%H:%M")}, follow=True)
    assert "Frozen." in page.content.decode()
    row = Freeze.objects.get()
    assert (row.owner, row.scope, row.expires_at) == (alice.user, "WITHDRAWALS", until)
    assert not Wallet.objects.get(pk=alice.cash.pk).withdrawals_enabled
    again = carol.post(reverse("admin:freeze_new"), form, follow=True)
    assert "WITHDRAWALS is frozen for this client." in again.content.decode()

    assert "Whoever placed a freeze does not lift it" in press(carol, "freeze", row, "LIFT")
    row.refresh_from_db()
    assert (row.lifted_at, Wallet.objects.get(pk=alice.cash.pk).withdrawals_enabled) == (None, False)
    assert "Alert 7" in look(dan, "freezes")
    assert "Lifted." in press(dan, "freeze", row, "LIFT", reason="False alarm")
    row.refresh_from_db()
    assert (row.lifted_by, row.lift_reason) == (User.objects.get(email=DAN).pk, "False alarm")
    assert Wallet.objects.get(pk=alice.cash.pk).withdrawals_enabled


@pytest.mark.parametrize(
    "change,said",
    [
        ({"reason": ""}, "Say why"),
        ({"expires_at": "2020-01-01T00:00"}, "ends at a time to come"),
        ({"client": "nobody@example.com"}, "Nobody is known by this."),
        ({"expires_at": "tomorrow"}, "Enter a valid date/time."),
    ],
)
def test_a_freeze_that_cannot_be_is_refused(db: None, change: dict[str, str], said: str) -> None:
    form = {"client": cast.alice().user.email, "scope": "LOGIN", "reason": "Alert 7"} | change
    page = office("kyc").post(reverse("admin:freeze_new"), form)
    assert said in page.content.decode()
    assert not Freeze.objects.exists()


def test_the_list_asks_for_an_end_too(db: None) -> None:
    alice, kyc = cast.alice(), office("kyc")
    form = {"action": "freeze_trading", "_selected_action": str(alice.user.pk), "index": "0", "reason": "Alert 7"}
    kyc.post("/admin/accounts/user/", form | {"until": "2031-02-03T04:05"})
    assert Freeze.objects.get().expires_at == datetime(2031, 2, 3, 4, 5, tzinfo=UTC)
    page = kyc.post(
        "/admin/accounts/user/", form | {"action": "freeze_login", "until": "2020-02-03T04:05"}, follow=True
    )
    assert "ends at a time to come" in page.content.decode()
    assert Freeze.objects.count() == 1


def test_finance_places_no_freeze(db: None) -> None:
    form = {"client": cast.alice().user.email, "scope": "LOGIN", "reason": "Alert 7"}
    assert office("finance").post(reverse("admin:freeze_new"), form).status_code == 403
    assert not Freeze.objects.exists()


# --- Switches -------------------------------------------------------------------------------------------------------


def test_dealing_throws_and_resets_switches(market: Push) -> None:
    dealing, path = office("dealing"), reverse("admin:kill_switches")
    for scope in ("WITHDRAWALS", "TRADING:EURUSD"):
        page = dealing.post(path, {"step": "THROW", "scope": scope, "reason": "News"}, follow=True)
        assert "Stopped, from now on." in page.content.decode()
    assert set(KillSwitch.objects.filter(engaged=True).values_list("scope", flat=True)) == {
        "WITHDRAWALS",
        "TRADING:EURUSD",
    }
    assert "WITHDRAWALS" in look(dealing, "queues")
    dealing.post(path, {"step": "RESET", "scope": "WITHDRAWALS", "reason": "Over"})
    assert not KillSwitch.objects.get(scope="WITHDRAWALS").engaged
    for form, said in (
        ({"step": "THROW", "scope": "TRADING:NOSUCH", "reason": "x"}, "Select a valid choice"),
        ({"step": "THROW", "scope": "", "reason": "x"}, "This field is required."),
        ({"step": "THROW", "scope": "TRADING", "reason": ""}, "Say why"),
    ):
        assert said in dealing.post(path, form, follow=True).content.decode()
    assert KillSwitch.objects.filter(engaged=True).count() == 1


@pytest.mark.parametrize("role", ["support", "kyc", "finance", "auditor"])
def test_nobody_else_throws_one(db: None, role: str) -> None:
    form = {"step": "THROW", "scope": "TRADING", "reason": "mine"}
    assert office(role).post(reverse("admin:kill_switches"), form).status_code == 403
    assert not KillSwitch.objects.filter(engaged=True).exists()


# --- All of it ------------------------------------------------------------------------------------------------------


def test_the_overview_counts_what_waits_and_since_when(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, finance = cast.alice(), office("finance")
    for _ in range(3):
        row = asked(alice, "10.00")
    Withdrawal.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=2, hours=3))
    page = " ".join(look(finance, "queues").split())
    assert "The oldest waits 2 d 3 h" in page
    assert selectors.depth(selectors.withdrawals, by="created_at").spelled == "3"
    monkeypatch.setattr(selectors, "COUNTED_MAX", 2)
    assert selectors.depth(selectors.withdrawals, by="created_at").spelled == "2 or more"
    assert "Nothing waits" in page


def test_who_may_not_look_into_a_queue_is_not_told_of_it(db: None) -> None:
    user = enlist("support")
    user.groups.clear()
    nobody, _ = log_in(user)
    for name in ("queues", "withdrawal_queue", "adjustment_queue", "freezes", "kill_switches", "commission_queue"):
        assert nobody.get(reverse(f"admin:{name}")).status_code == 403
        assert name in PAGES


@pytest.mark.parametrize(
    "waited,said",
    [
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=7), "7 min"),
        (timedelta(hours=5, minutes=12), "5 h 12 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (timedelta(seconds=-5), "0 min"),
    ],
)
def test_an_age_is_said_in_two_figures(waited: timedelta, said: str) -> None:
    now = timezone.now()
    assert age(now - waited, now) == said
    assert age(None) == "–"
