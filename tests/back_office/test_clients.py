"""Everything about one client and nothing about another, to whoever may see it, and as much of it as they may."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import rules
from accounts.models import TradingAccount, User
from config.back_office.clients.looks import ROWS, client_url
from config.back_office.clients.models import ClientNote
from config.back_office.clients.sections import MONEY, SECTIONS
from config.back_office.clients.services import notes
from config.back_office.clients.services.notes import NoteInvalid
from core.audit import Actor, ActorKind
from core.errors import NotFound
from core.ids import HOUSE, uuid7
from core.models import AuditEvent
from tests import cast, database, factories
from tests.accounts.test_back_office import office
from tests.back_office.people import CLEAR, LOOK, pair, staff, staff_user, superuser, text_of
from tests.cast import CastMember, StaffMember
from tests.trading import prices
from tests.wallets.calls import transfer
from tests.wallets.test_back_office import signed_in
from trading.models import Deal, Order, Position
from wallets import ledger
from wallets.models import Deposit, Entry, Kind, LedgerTransaction, Transfer, Withdrawal
from wallets.services import adjustments

#: Session, user, device, permissions, then the client with labels; the rest is the section's own.
QUERIES_MAX = 26


@pytest.fixture
def market(db: None) -> prices.Push:
    return prices.open_market()


@pytest.fixture
def both(market: prices.Push) -> tuple[CastMember, CastMember]:
    return pair()


def page(client: Client, who: CastMember | User, section: str = "overview", **parameters: Any) -> Any:
    user = who.user if isinstance(who, CastMember) else who
    return client.get(client_url(user.pk, section, **parameters))


def note(who: CastMember, text: str = "Called back") -> ClientNote:
    return notes.add_note(client=who.user.pk, text=text, actor=Actor(id=staff_user().pk, kind=ActorKind.STAFF))


# --- Whose page it is -------------------------------------------------------------------------------------------------


def identifying(who: CastMember) -> set[str]:
    """Everything by which a page could betray somebody: ids and numbers of all their rows."""
    user = who.user
    marks: set[Any] = {user.pk, user.number, user.email, user.phone, user.name, user.referral_code or user.pk}
    marks |= {who.cash.number, who.margin.number, who.account.number, who.account.pk}
    for model in (Order, Position, Deal, Deposit, Withdrawal, Transfer, LedgerTransaction, Entry):
        marks |= set(model.objects.filter(owner=user).values_list("pk", flat=True))
    marks |= set(Position.objects.filter(owner=user).values_list("number", flat=True))
    return {str(mark) for mark in marks}


def test_a_section_shows_its_client_and_nobody_else(both: tuple[CastMember, CastMember]) -> None:
    alice, bob = both
    desk = superuser()
    for who, other in ((alice, bob), (bob, alice)):
        strangers = identifying(other)
        for section in SECTIONS:
            response = page(desk, who, section)
            assert response.status_code == 200
            text = response.content.decode()
            assert str(who.user.number) in text
            assert who.user.name in text
            assert {mark for mark in strangers if mark in text} == set(), section


EXPECTED = {
    "overview": ["+442079460101", "1 Acacia Avenue", "1990-05-17", "PASSPORT", "Free margin", "Has referred 1"],
    "wallets": ["Statement of", "ADJUSTMENT", "Balance after", "TRANSFER"],
    "orders": ["EURUSD", "LIMIT BUY", "MARKET BUY", "WORKING", "FILLED"],
    "positions": ["EURUSD", "OPEN", "CLOSED", "0 of 1"],
    "deals": ["IN BUY", "OUT BUY", "CLIENT"],
    "cash": ["100.00 USD", "20.00 USD", "30.00 USD", "COMPLETED", "REQUESTED", "···3000", "Commerzbank"],
    "referrals": ["5.00 USD", "standard v1", "Clients referred"],
    "access": ["dd_", "IN FORCE", "read, trade, transfer, withdraw"],
    "freezes": ["WITHDRAWALS", "FROZEN", "Alert about Alice Archer", "the desk"],
    "notes": ["Called about Alice Archer", "Writer about Alice Archer", "Add the note"],
    "timeline": ["accounts.freeze.placed", "MARKET order", "Deposit", "Withdrawal", "Transfer", "Note", "the client"],
}


def test_a_section_tells_what_there_is(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    desk = superuser()
    assert list(EXPECTED) == list(SECTIONS)
    for section, words in EXPECTED.items():
        text = text_of(page(desk, alice, section))
        assert [word for word in words if word not in text] == [], text
    assert "scope: WITHDRAWALS; Alert about Alice Archer the desk" in text
    text = text_of(page(desk, alice, "wallets", wallet=alice.margin.number))
    assert [word for word in ("TRADE_PNL", "COMMISSION", "CLOSE") if word not in text] == []


def test_cash_tells_what_staff_put_right_and_not_to_everybody(both: tuple[CastMember, CastMember]) -> None:
    alice, bob = both
    maker = Actor(id=staff_user().pk, kind=ActorKind.STAFF)
    terms: dict[str, Any] = {"direction": "CREDIT", "amount": Decimal("7.77"), "reason": "Fee charged twice"}
    adjustments.propose_adjustment(wallet=alice.cash.number, actor=maker, key="form-1", **terms)
    desk = superuser()
    text = text_of(page(desk, alice, "cash"))
    assert [word for word in ("Fee charged twice", "7.77 USD", "PROPOSED") if word not in text] == []
    assert "Fee charged twice" not in text_of(page(desk, bob, "cash"))
    assert "Fee charged twice" not in text_of(page(office("support"), alice, "cash"))


def test_the_running_balance_ends_in_the_wallet(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    alice.cash.refresh_from_db()
    text = text_of(page(superuser(), alice, "wallets", wallet=alice.cash.number))
    lines = re.findall(r"(\d+) \d{4}-\d\d-\d\d [\d:]+ [A-Z_]+ [A-Z_]+ (-?[\d.]+) USD (-?[\d.]+) USD", text)
    assert len(lines) >= 2
    assert lines[0][2] == f"{alice.cash.balance:.2f}"
    for later, earlier in itertools.pairwise(lines):
        assert int(later[0]) == int(earlier[0]) + 1
        assert float(later[2]) == pytest.approx(float(earlier[2]) + float(later[1]))


def test_a_wallet_of_somebody_else_is_not_to_be_had(both: tuple[CastMember, CastMember]) -> None:
    alice, bob = both
    text = text_of(page(superuser(), alice, "wallets", wallet=bob.cash.number))
    assert bob.cash.number not in text
    assert "Statement of" in text


def test_what_is_demo_says_so(market: prices.Push) -> None:
    demo = cast.make_client(environment="DEMO", name="Dora Demo")
    live = cast.alice()
    desk = superuser()
    orange, green = "bg-orange-100", "bg-green-100"
    for section in SECTIONS:
        content = page(desk, demo, section).content.decode()
        assert re.search(rf"{orange}[^>]*>\s*DEMO\s*<", content), section
        assert "LIVE" not in text_of(page(desk, demo, section))
        assert re.search(rf"{green}[^>]*>\s*LIVE\s*<", page(desk, live, section).content.decode()), section
        assert "DEMO" not in text_of(page(desk, live, section))


def test_a_client_with_both_has_every_row_marked(market: prices.Push) -> None:
    who = cast.alice()
    with transaction.atomic():
        wallet = ledger.open_wallet(
            owner=who.user.pk, environment="DEMO", kind=Kind.MARGIN, currency="USD", verified=True
        )
        TradingAccount.objects.create(
            number="5999999", owner=who.user, wallet_id=wallet.id, environment="DEMO", currency="USD", leverage=30
        )
    desk = superuser()
    assert "LIVE DEMO" in text_of(page(desk, who))  # the labels, whichever section is open
    rows = re.findall(r"\b(W\d+) (LIVE|DEMO)\b", text_of(page(desk, who, "wallets")))
    assert dict(rows) == {who.cash.number: "LIVE", who.margin.number: "LIVE", wallet.number: "DEMO"}
    assert "5999999 DEMO" in text_of(page(desk, who))


def test_only_clients_have_a_page(db: None) -> None:
    desk = superuser()
    for nobody in (HOUSE, uuid7(), factories.Staff.create().pk):
        assert desk.get(client_url(nobody)).status_code == 404
    assert desk.get(client_url(cast.alice().user.pk, "nonsense")).status_code == 404


# --- What who may see -------------------------------------------------------------------------------------------------

MORE = {CLEAR, "accounts.view_tradingaccount", "accounts.view_verification", "core.view_auditevent"}

#: All that a section may ask for.
ALL = sorted({permission for section in SECTIONS.values() for permission in section.permissions} | MORE)


def test_a_section_takes_each_of_its_permissions(db: None) -> None:
    alice = cast.alice()
    for key, section in SECTIONS.items():
        needed = {LOOK, *section.permissions}
        assert page(staff(*needed), alice, key).status_code == 200
        for left_out in needed:
            assert page(staff(*(needed - {left_out})), alice, key).status_code == 403


def test_who_sees_people_only_sees_no_money(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    desk = staff(LOOK, CLEAR, "accounts.view_tradingaccount", "accounts.view_apitoken", "accounts.view_verification")
    response = page(desk, alice)
    text = text_of(response)
    assert alice.account.number in text
    assert not re.search(r"\d+\.\d\d\b", re.sub(r"\d{4}-\d\d-\d\d [\d:]+", "", text))
    shown = {key for key in SECTIONS if client_url(alice.user.pk, key) in response.content.decode()}
    assert shown == {"overview", "access"}
    for key, section in SECTIONS.items():
        assert (page(desk, alice, key).status_code == 403) == (key not in shown)
        assert key in shown or MONEY in section.permissions or key in {"freezes", "notes"}


@pytest.mark.parametrize("role", rules.ROLES)
def test_a_role_gets_the_sections_it_is_shown_and_no_others(db: None, role: str) -> None:
    alice = cast.alice()
    desk = office(role)
    content = page(desk, alice).content.decode()
    for key in SECTIONS:
        is_shown = client_url(alice.user.pk, key).replace("&", "&amp;") in content
        assert page(desk, alice, key).status_code == (200 if is_shown else 403)


def test_personal_data_is_masked_for_those_who_need_not_know(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    personal = (alice.user.email, "+442079460101", "442079460101", "Acacia", "1990", f"uploads/{alice.user.pk}")
    clear, masked = staff(*ALL), staff(*(set(ALL) - {CLEAR}))
    for section in SECTIONS:
        text = page(masked, alice, section).content.decode()
        assert [word for word in personal if word in text] == [], section
    text = text_of(page(masked, alice))
    assert "a***@example.com" in text
    assert "0101" in text
    text = text_of(page(clear, alice))
    assert [word for word in personal if word not in text] == []


def test_what_a_profile_was_changed_from_is_not_in_the_timeline(db: None) -> None:
    alice = cast.alice()
    was = str(alice.user.phone)
    assert alice.api.patch("/api/v1/me", {"phone": "+442079460999"}).status_code == 200
    text = text_of(page(superuser(), alice, "timeline"))
    assert "accounts.profile.updated" in text
    assert was not in text
    assert "+442079460999" not in text


def test_no_secret_is_on_any_page(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    desk = superuser()
    for section in SECTIONS:
        text = page(desk, alice, section).content.decode()
        for secret in (alice.user.password, alice.token, "DE89370400440532013000"):
            assert secret not in text


# --- How much of it ---------------------------------------------------------------------------------------------------


def test_a_section_costs_no_more_however_much_there_is(both: tuple[CastMember, CastMember]) -> None:
    alice, bob = both
    desk = superuser()
    for index in range(ROWS + 3):
        transfer(alice, alice.margin, "1.00")
        note(alice, f"Note {index}")
        factories.Person.create(referred_by=alice.user)
    page(desk, bob)
    for section in SECTIONS:
        counted = []
        for who in (bob, alice):
            with CaptureQueriesContext(connection) as queries:
                assert page(desk, who, section).status_code == 200
            counted.append(len(queries))
            assert not [query["sql"] for query in queries if "COUNT(" in query["sql"] and "LIMIT" not in query["sql"]]
        assert counted[1] <= counted[0] <= QUERIES_MAX, section


#: Tables that are read whole: of a size that is the desk's own doing, and not its clients'.
SMALL = ("trading_instrument", "trading_quote", "django_", "auth_", "accounts_user_", "otp_totp")


#: Tables with an index of all rows that begins with whose they are.
INDEXED_BY_OWNER = """
SELECT DISTINCT index.indrelid::regclass::text FROM pg_index index
JOIN pg_attribute first ON first.attrelid = index.indrelid AND first.attnum = index.indkey[0]
WHERE first.attname = 'owner_id' AND index.indpred IS NULL AND index.indisvalid
"""


def test_a_section_is_read_by_index(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    desk = superuser()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a table of ten rows is read whole where that is allowed
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    with CaptureQueriesContext(connection) as queries:
        for section in SECTIONS:
            page(desk, alice, section)
    looked = {query["sql"] for query in queries if query["sql"].startswith("SELECT ")}
    assert len(looked) > 30
    slow = []
    with connection.cursor() as cursor:
        cursor.execute(INDEXED_BY_OWNER)
        by_owner = {table for (table,) in cursor.fetchall()}
        for sql in looked:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            read_whole = [table for table in re.findall(r"Seq Scan on (\w+)", plan) if not table.startswith(SMALL)]
            walked = re.findall(r"using \w+_pkey on (\w+) .*\n\s+Filter: .*\bowner_id\b", plan)
            if read_whole or set(walked) - by_owner:  # of a few rows, any index will do
                slow.append(plan)
    assert slow == []


@pytest.mark.parametrize("section", ["notes", "timeline", "referrals"])
def test_older_rows_are_a_link_away_and_none_is_lost(db: None, section: str) -> None:
    alice = cast.alice()
    written = [f"Row {index:03}." for index in range(2 * ROWS + 5)]
    for text in written:
        if section == "referrals":
            factories.Person.create(referred_by=alice.user, name=text)
        else:
            note(alice, text)
    desk = superuser()
    seen: list[str] = []
    url = client_url(alice.user.pk, section)
    while url:
        content = desk.get(url).content.decode()
        found = re.findall(r"Row \d{3}\.", content)
        assert content.count("<tbody") <= 2 * ROWS
        seen += found
        older = re.search(r'href="([^"]+)" rel="next"', content)
        url = older[1].replace("&amp;", "&") if older else ""
        assert 0 < len(found) <= ROWS
    assert seen == written[::-1]


def test_the_statement_goes_on_where_it_stopped(db: None) -> None:
    alice = cast.alice()
    for _ in range(ROWS):
        transfer(alice, alice.margin, "1.00")
    desk = superuser()
    content = page(desk, alice, "wallets", wallet=alice.cash.number).content.decode()
    (older,) = re.findall(r'href="([^"]+)" rel="next"', content)
    assert f"wallet={alice.cash.number}" in older
    content = desk.get(older.replace("&amp;", "&")).content.decode()
    assert "Newest" in content
    assert text_of(desk.get(older.replace("&amp;", "&"))).count("ADJUSTMENT") >= 1
    assert 'rel="next"' not in content


def test_a_mark_that_is_none_is_passed_over(db: None) -> None:
    alice = cast.alice()
    desk = superuser()
    for mark in ("0", "'; DROP TABLE wallets_entry; --", "9" * 40, "\u202e1", "-1", "x" * 4_000, "\x00"):
        for section, name in (("orders", "orders"), ("wallets", "entries"), ("timeline", "before"), ("notes", "notes")):
            assert page(desk, alice, section, **{name: mark}).status_code == 200


# --- Notes ------------------------------------------------------------------------------------------------------------


def test_a_note_is_added_on_the_page_and_on_record(db: None) -> None:
    alice = cast.alice()
    writer = staff_user(LOOK, "clients.view_clientnote", "clients.add_clientnote")
    desk = signed_in(StaffMember(writer))
    url = reverse("admin:client_note", args=[alice.user.pk])
    response = desk.post(url, {"text": "Wants to be called <b>after six</b>"}, follow=True)
    assert response.redirect_chain == [(client_url(alice.user.pk, "notes"), 302)]
    assert "Wants to be called &lt;b&gt;after six&lt;/b&gt;" in response.content.decode()
    row = ClientNote.objects.get()
    assert (row.owner, row.author) == (alice.user, writer)
    event = AuditEvent.objects.get(action="clients.note.added")
    assert (event.owner, event.actor_id, event.object_id) == (alice.user.pk, writer.pk, str(row.pk))
    assert "after six" not in alice.api.get("/api/v1/me").content.decode()


def test_what_is_no_note_comes_back_with_why(db: None) -> None:
    alice = cast.alice()
    desk = staff(LOOK, "clients.view_clientnote", "clients.add_clientnote")
    url = reverse("admin:client_note", args=[alice.user.pk])
    for text in ("", "   ", "x" * 4_001):
        response = desk.post(url, {"text": text})
        assert response.status_code == 400
        assert text in response.content.decode()
    for text in ("", " \n", "x" * 4_001):
        with pytest.raises(NoteInvalid):
            note(alice, text)
    with pytest.raises(NotFound):
        notes.add_note(client=HOUSE, text="x", actor=Actor(id=staff_user().pk, kind=ActorKind.STAFF))
    assert desk.post(reverse("admin:client_note", args=[uuid7()]), {"text": "x"}).status_code == 404
    assert (ClientNote.objects.count(), AuditEvent.objects.filter(action="clients.note.added").count()) == (0, 0)


@pytest.mark.parametrize("role", rules.ROLES)
def test_who_deals_with_clients_may_write_notes(db: None, role: str) -> None:
    alice = cast.alice()
    response = office(role).post(reverse("admin:client_note", args=[alice.user.pk]), {"text": "Called back"})
    may = role in {"support", "kyc", "finance", "dealing"}
    assert response.status_code == (302 if may else 403)
    assert ClientNote.objects.count() == may


def test_a_forged_note_is_refused(db: None) -> None:
    alice = cast.alice()
    desk = staff(LOOK, "clients.add_clientnote")
    desk.handler.enforce_csrf_checks = True
    url = reverse("admin:client_note", args=[alice.user.pk])
    assert desk.post(url, {"text": "x"}).status_code == 403
    assert desk.get(url).status_code == 405
    assert ClientNote.objects.count() == 0


@pytest.mark.parametrize(
    "sql", ["UPDATE clients_clientnote SET text = 'x'", "DELETE FROM clients_clientnote", "TRUNCATE clients_clientnote"]
)
def test_a_note_stays_as_it_was_written(db: None, sql: str) -> None:
    row = note(cast.alice())
    with database.as_owner() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else the test's own rows are in the way of the TRUNCATE
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(sql)
    assert ClientNote.objects.get(pk=row.pk).text == "Called back"


def test_the_database_takes_no_blank_note(db: None) -> None:
    alice, writer = cast.alice(), staff_user()
    with pytest.raises(IntegrityError, match="clientnote_says_something"), transaction.atomic():
        ClientNote.objects.create(owner=alice.user, author=writer, text=" \n ")


def test_nobody_edits_a_note_in_the_admin(db: None) -> None:
    row = note(cast.alice())
    desk = superuser()
    assert admin.site.is_registered(ClientNote)
    assert desk.get("/admin/clients/clientnote/").status_code == 200
    assert desk.post(f"/admin/clients/clientnote/{row.pk}/change/", {"text": "x"}).status_code == 403
    assert desk.post(f"/admin/clients/clientnote/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert desk.get("/admin/clients/clientnote/add/").status_code == 403
    assert ClientNote.objects.get().text == "Called back"


# --- Ways in ----------------------------------------------------------------------------------------------------------


def test_the_list_of_people_leads_to_the_page(db: None) -> None:
    alice = cast.alice()
    content = superuser().get("/admin/accounts/user/").content.decode()
    assert f'href="{client_url(alice.user.pk)}"' in content
    assert str(alice.user.number) in content


def test_clients_and_strangers_stay_outside(db: None) -> None:
    alice = cast.alice()
    for client in (Client(), client_of(alice)):
        for url in (client_url(alice.user.pk), reverse("admin:find") + "?q=C10000001"):
            assert client.get(url).status_code == 302


def client_of(who: CastMember) -> Client:
    client = Client()
    client.force_login(who.user)
    return client


def test_every_link_leads_somewhere(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    desk = superuser()
    links = set()
    for section in SECTIONS:
        content = page(desk, alice, section).content.decode()
        links |= set(re.findall(r'href="(/admin/[^"]*)"', content[content.index('id="main"') :]))
    assert len(links) > 30
    for link in links:
        assert desk.get(link.replace("&amp;", "&")).status_code == 200, link


def test_a_page_does_not_change_what_it_shows(both: tuple[CastMember, CastMember]) -> None:
    alice, _ = both
    before = AuditEvent.objects.count(), Entry.objects.count(), ClientNote.objects.count()
    desk = superuser()
    for section in SECTIONS:
        page(desk, alice, section)
    assert (AuditEvent.objects.count(), Entry.objects.count(), ClientNote.objects.count()) == before


def test_a_client_without_anything_has_every_section(db: None) -> None:
    person = factories.Person.create()
    desk = superuser()
    for section in SECTIONS:
        assert page(desk, person, section).status_code == 200
