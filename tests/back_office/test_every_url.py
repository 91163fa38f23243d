"""Every URL of the back office as every role: what the matrix forbids is refused, and nothing has changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection, models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import Freeze, ReferrerChange, User, Verification
from accounts.services import freezes
from config.back_office.pages import PAGES
from core.audit import Actor
from core.ids import uuid7
from core.models import JobRun, KillSwitch
from referrals.services import reversals
from tests import cast, source
from tests.accounts.test_back_office import noon, office, submitted  # noqa: F401  # noon is a fixture
from tests.back_office.test_alerts_workflow import make_alert
from tests.back_office.test_roles import LETTERS, VIEWS, WRITES_NOTHING, written_down
from tests.referrals.deals import closed, lineage, opened, pay, plan
from tests.referrals.test_reversals import spend
from tests.trading.conftest import market  # noqa: F401  # a fixture
from tests.trading.prices import Push
from tests.wallets.calls import bank_account, deposit, withdraw
from tests.wallets.test_back_office import signed_in

ROOT = "admin/"

#: For whoever is inside.
OPEN = {"index", "logout", "login", "jsi18n", "search", "password_change", "password_change_done"}
#: For nobody, inside or not.
NOWHERE = {"autocomplete", "view_on_site", None}
#: For who is not inside yet, and has given a password.
OUTSIDE = {"set_up"}

#: What counts attempts and remembers what was read: written without anything being done.
TRACES = {"core_auditevent", "core_throttlewindow"}
MONEY = ("wallets_", "trading_", "referrals_")
ROOMS = ("core_", "accounts_", *MONEY)

#: Something for every form there could be.
EAGER = {
    "post": "yes",
    "_popup": "1",
    "reason": "because",
    "decision": "approve",
    "status": "COMPLETED",
    "amount": "1000.00",
    "balance": "1000000.00",
    "is_superuser": "on",
    "is_staff": "on",
    "groups": "1",
    "note": "a note",
    "text": "a note",
    "form-TOTAL_FORMS": "1",
    "form-INITIAL_FORMS": "1",
    "form-0-balance": "1000000.00",
    "form-0-status": "COMPLETED",
}
#: A list takes a POST for an action, or for a formset of its rows: these say which.
ACTION = {"index": "0"}
FORMSET = {"_save": "Save"}


# --- Where there is to go ---------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A URL pattern of the admin, with real ids in it."""

    path: str
    name: str | None
    route: str

    @property
    def table(self) -> type[models.Model] | None:
        """The table whose list this belongs to."""
        parts = self.path.strip("/").split("/")
        try:
            return apps.get_model(parts[1], parts[2]) if len(parts) > 2 else None
        except LookupError:
            return None

    @property
    def kind(self) -> str:
        """What is done to the table there: `changelist`, `change`, `add`, `delete`, `history`, or something of ours."""
        return "redirect" if self.name is None else self.name.rpartition("_")[2]


def places() -> list[Place]:
    """Every pattern below /admin/, those that others add later included."""
    found = [
        Place(_filled(spelled), name, route)
        for route, name in _patterns(get_resolver().url_patterns, "")
        for spelled in _spellings(route)
    ]
    return [place for place in found if place.path.startswith(f"/{ROOT}")]


def _spellings(route: str) -> list[str]:
    """What the two patterns with regular expressions stand for; the others for themselves."""
    if (labels := re.search(r"\^\(\?P<app_label>([\w|]+)\)/\$", route)) is not None:
        return [route.replace(labels[0], f"{label}/") for label in labels[1].split("|")]
    return [route.replace("(?P<url>.*)$", "there/is/no/such/page/")]


def _patterns(patterns: list[Any], prefix: str) -> Iterator[tuple[str, str | None]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern), pattern.name


def _filled(route: str) -> str:
    """The route with an id in every place for one: of a row, if the place says of which table."""
    table = re.match(r"admin/(\w+)/(\w+)/<", route)

    def value(match: re.Match[str]) -> str:
        kind, _, name = match[1].rpartition(":")
        if name == "object_id" and table:
            return _key(apps.get_model(table[1], table[2]), kind)
        return _key(_named(name.removesuffix("_id")), kind)

    return "/" + re.sub(r"<([^>]+)>", value, route)


def _named(word: str) -> type[models.Model] | None:
    """The table that a name in a route is about."""
    aliases = {"client": "user", "owner": "user", "transaction": "ledgertransaction", "account": "tradingaccount"}
    wanted = aliases.get(word, word.replace("_", ""))
    return next(
        (model for app in source.our_apps() for model in app.get_models() if model._meta.model_name == wanted), None
    )


def _key(model: type[models.Model] | None, kind: str) -> str:
    row = model._default_manager.order_by("pk").last() if model is not None else None
    if row is not None and not isinstance(row.pk, bytes):  # a digest for a key: its row has no page
        return str(row.pk)
    return {"int": "1", "slug": "nothing", "str": "nothing"}.get(kind, str(uuid7()))


# --- What the matrix says ---------------------------------------------------------------------------------------------


def is_allowed(place: Place, role: str) -> bool:
    """Whether a role may open a page; what nobody may do is refused there all the same."""
    if place.name in OPEN | OUTSIDE:
        return True
    if place.name in PAGES:
        return PAGES[place.name].permission in written_down(role)
    if place.name == "app_list":
        return any(_may_look(model, role) for model in admin.site._registry if place.path == _app_path(model))
    if place.table is None:
        assert place.name in NOWHERE, f"say who may open {place.route}"
        return False
    return place.kind not in {"add", "delete", "history"} and _may_look(place.table, role)


def _may_look(model: type[models.Model], role: str) -> bool:
    return LETTERS[role] in VIEWS[model._meta.label_lower].split()


def _app_path(model: type[models.Model]) -> str:
    return f"/{ROOT}{model._meta.app_label}/"


# --- What changes -----------------------------------------------------------------------------------------------------


def books(*prefixes: str, but: tuple[str, ...] = ()) -> dict[str, str]:
    """A digest of every row of every table of ours, and of who may get in."""
    tables = {model._meta.db_table for app in source.our_apps() for model in app.get_models()}
    tables |= {"accounts_user_groups", "auth_group", "auth_group_permissions"}
    tables |= {"otp_totp_totpdevice", "otp_static_statictoken", "django_admin_log"}
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(tables - TRACES):
            if table.startswith(prefixes or "") and not table.startswith(but or ("-",)):
                cursor.execute(
                    f"SELECT count(*) || ' ' || md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} t"
                )
                (found[table],) = cursor.fetchone() or ("",)
    return found


@pytest.fixture
def world(market: Push, settings: Any) -> cast.CastMember:  # noqa: F811
    """A desk where everything has happened once; the client to whom most of it has."""
    # Its links are drawn on every one of some thousand pages, and lead nowhere that is not gone to.
    settings.UNFOLD = settings.UNFOLD | {"SIDEBAR": {"navigation": []}}
    plan()
    client, (referrer,) = lineage(1)
    closed(client)
    pay()
    spend(referrer, "2.00")
    carol = cast.carol_staff()
    (row,) = referrer.user.commissions.all()
    reversals.reverse_commission(commission_id=row.pk, reason="wash trading", actor=carol.actor)
    closed(client)
    pay()
    opened(client)
    alice = cast.alice()
    bank_account(alice)
    for made in (deposit(alice, "5.00"), withdraw(alice, "1.00")):
        assert made.status_code == 201
    submitted()
    make_alert(client.user)
    ReferrerChange.objects.create(owner=alice.user, proposed_by=carol.user, reason="x")
    freezes.place_freeze(owner=client.user.pk, scope=Freeze.Scope.LOGIN, reason="x", actor=Actor.system())
    JobRun.objects.create(name="charge_swaps")
    KillSwitch.objects.create(scope="TRADING", reason="maintenance")
    return alice


def forger(client: Client) -> Client:
    """A page of somebody else's, in the browser of who is signed in: it has the cookies and not the token."""
    forged = Client(enforce_csrf_checks=True, REMOTE_ADDR="198.51.100.9")
    forged.cookies = client.cookies
    return forged


def refused(answers: list[tuple[str, str, Any]]) -> list[str]:
    """What was answered with anything but a refusal."""
    return [
        f"{verb} {path} {answer.status_code}" for verb, path, answer in answers if answer.status_code not in (403, 404)
    ]


# --- As every role ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", LETTERS)
def test_what_the_matrix_forbids_is_refused_and_nothing_has_changed(world: cast.CastMember, role: str) -> None:
    client = office(role)
    before, everywhere = books(), places()
    allowed = [place for place in everywhere if is_allowed(place, role)]
    forbidden = [place for place in everywhere if place not in allowed]
    assert (len(allowed) > 10, len(forbidden) > 50) == (True, True)
    assert refused(knocked_at(client, forbidden)) == []
    assert books() == before
    assert broken(client, allowed) == []  # looking is no change either
    forged = forger(client)
    assert refused([("a forged POST", place.path, forged.post(place.path, EAGER)) for place in allowed]) == []
    assert books() == before
    if role in POWERLESS:
        return  # they are eager below
    for place in allowed:
        if place.kind == "changelist" and not decides_in(role, place):
            eager(client, place)
    assert books() == before


def knocked_at(client: Client, forbidden: list[Place]) -> list[tuple[str, str, Any]]:
    """What is answered to a look, and to a form from one's own page; one from somebody else's gets no further."""
    answers = []
    for place in forbidden:
        form = (
            EAGER
            | ACTION
            | {"action": "delete_selected", "_selected_action": place.path.rstrip("/").rpartition("/")[2]}
        )
        answers += [
            ("GET", place.path, client.get(place.path, follow=place.kind == "redirect")),
            ("POST", place.path, client.post(place.path, form, follow=place.kind == "redirect")),
        ]
    return answers


def broken(client: Client, allowed: list[Place]) -> list[str]:
    """The pages that do not open although they may be; a page of ours may ask for more than its address."""
    failed = []
    for place in allowed:
        is_sure = place.table is not None or place.name in OPEN - {"logout"}
        answer = client.get(place.path)
        if answer.status_code >= (400 if is_sure else 500):
            failed.append(f"{place.path} {answer.status_code}")
    return failed


def decides_in(role: str, place: Place) -> bool:
    """Whether the matrix gives a role anything to do about the tables of this one's app."""
    assert place.table is not None
    does = {name for name in written_down(role) if ".view_" not in name} - WRITES_NOTHING
    return any(name.startswith(f"{place.table._meta.app_label}.") for name in does)


def eager(client: Client, place: Place) -> None:
    """Every action there is on a list's every row, or everything that a form could ask for."""
    model_admin: Any = admin.site._registry.get(place.table) if place.table is not None else None
    if place.kind == "changelist" and model_admin is not None:
        rows = [str(pk) for pk in model_admin.model._default_manager.values_list("pk", flat=True)[:50]]
        for action in ("delete_selected", *model_admin.actions):
            chosen = {"action": action, "_selected_action": rows, "select_across": "1"}
            client.post(place.path, EAGER | ACTION | chosen)
    client.post(place.path, EAGER | FORMSET)


#: Who moves none of what such tables hold.
POWERLESS: dict[str, Callable[[], dict[str, str]]] = {
    "support": lambda: books(*ROOMS),
    "auditor": lambda: books(but=("exports_",)),
    "admin": lambda: books(*MONEY),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", POWERLESS)
def test_who_decides_nothing_moves_nothing_however_eager(world: cast.CastMember, role: str) -> None:
    client, ledger = office(role), POWERLESS[role]
    leaving = {"logout", "login"}
    allowed = [place for place in places() if is_allowed(place, role) and place.name not in leaving]
    before = ledger()
    for place in allowed:
        eager(client, place)
    assert ledger() == before
    assert client.get("/admin/").status_code == 200  # it was inside all along


@pytest.mark.timeout(600)
def test_outside_there_is_only_the_log_in(world: cast.CastMember) -> None:
    """For nobody, for a client, for a superuser without a device, and for somebody who has one to set up."""
    carol = User.objects.get(email="carol@example.com")
    nobody, client, superuser, newcomer = (Client(REMOTE_ADDR="198.51.100.9") for _ in range(4))
    client.force_login(world.user)
    superuser.force_login(carol)
    form = {"username": carol.email, "password": cast.PASSWORD}
    assert newcomer.post("/admin/login/", form).headers["Location"] == "/admin/set-up/"
    before, inside = books(), []
    doors = [place for place in places() if place.name not in {"login", *OUTSIDE}]
    for who in (nobody, client, superuser, newcomer):
        for place in doors:
            for answer in (who.get(place.path), who.post(place.path, EAGER)):
                to = answer.headers.get("Location", "")
                if answer.status_code != 302 or (not to.startswith("/admin/login/") and place.name != "logout"):
                    inside.append(f"{place.path} {answer.status_code} {to}")
    assert inside == []
    assert books() == before


# --- Nothing with money is edited, whoever asks -----------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_not_even_a_superuser_adds_edits_or_deletes_a_row(world: cast.CastMember) -> None:
    root = signed_in(cast.carol_staff(email="root@example.com"))
    assert root.get("/admin/").status_code == 200  # on the list of sessions from here on
    before, answers = books(), []
    for place in places():
        if place.table is None or place.name in PAGES:
            continue
        if place.kind in {"add", "delete", "change"}:
            answers.append(("POST", place.path, root.post(place.path, EAGER)))
        if place.kind in {"add", "delete"}:
            answers.append(("GET", place.path, root.get(place.path)))
        if place.kind == "changelist":
            rows = [str(pk) for pk in place.table._default_manager.values_list("pk", flat=True)[:50]]
            form = {"action": "delete_selected", "_selected_action": rows, "select_across": "1"}
            root.post(place.path, EAGER | ACTION | form)
            root.post(place.path, EAGER | FORMSET)
    assert len(answers) > 100
    assert refused(answers) == []
    assert books() == before


def test_no_list_has_a_form_in_it() -> None:
    lists: dict[Any, Any] = admin.site._registry
    editable = [
        model._meta.label
        for model, row in lists.items()
        if row.list_editable or row.inlines or "delete_selected" in row.actions
    ]
    assert editable == []
    assert Verification in admin.site._registry


def test_every_money_table_has_a_row_to_try_it_on(world: cast.CastMember) -> None:
    empty = {table for table, digest in books(*MONEY).items() if not digest}
    tried = {"wallets_wallet", "wallets_entry", "wallets_ledgertransaction", "wallets_deposit", "wallets_withdrawal"}
    tried |= {"wallets_transfer", "wallets_bankaccount", "trading_order", "trading_position", "trading_deal"}
    tried |= {"referrals_commission", "referrals_accrual", "referrals_debt", "referrals_debtsettlement"}
    assert empty & tried == set()
