"""
Whether the back office stays quick: every list, search, filter, row and page on a desk with a year of business in it.

    python -m bench.back_office [--entries 3000000] [--orders 1000000] [--rounds 9] [--only trading] [--all]

The desk is `bench.big_desk`'s, made first if there is none. Each place is asked for by a member of staff who may see
it, signed in with a second factor, through the whole stack but the socket. Lists are opened at their first, second and
last page; searched for what is in their newest, in their busiest client's and in their oldest row, by each of their
kinds of search, and for what is nowhere; and filtered by each choice of each filter. Prints the slowest first, in
milliseconds; exit status 1 if the median of one is 300 or more, or if one does not open.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import deque
from collections.abc import Iterator
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import urlencode

from bench import big_desk

MILLISECONDS_MAX = 300
#: Who looks: whoever of these may see a place; auditors may see nearly everything.
ROLES = ("auditor", "admin", "kyc", "finance", "dealing", "support")
NOWHERE = ("01999999-0000-7000-8000-000000000000", "nobody")
BUSIEST = "client1@example.com"
SHOWN = 25
CLOSED = {403, 404}


class Place(NamedTuple):
    """Something to look at, and how to call it."""

    name: str
    path: str


class Timing(NamedTuple):
    """How long a place took to answer, how much of it in queries, in milliseconds; and by how many of them."""

    median: float
    p95: float
    asking: float
    queries: int
    size: int
    place: Place


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.back_office", description=(__doc__ or "").split("\n")[1])
    big_desk.add_sizes(parser)
    parser.add_argument("--rounds", type=int, default=9, help="Requests of which each figure is the median.")
    parser.add_argument("--only", default="", help="Places whose name has this in it.")
    parser.add_argument("--all", action="store_true", help="Print every place, not the slowest alone.")
    chosen = parser.parse_args()
    with big_desk.desk(big_desk.Sizes(chosen.entries, chosen.orders), fresh=chosen.fresh):
        from scripts import prepare

        prepare.collect_static()
        staff = sign_in()
        wanted = [place for place in places() if chosen.only.lower() in place.name.lower()]
        timings, closed = measure(wanted, staff, chosen.rounds)
    timings.sort(reverse=True)
    print(f"{'median':>8} {'p95':>8} {'in SQL':>8} {'queries':>8} {'kB':>6}  place")
    for timing in timings if chosen.all else timings[:SHOWN]:
        print(
            f"{timing.median:8.1f} {timing.p95:8.1f} {timing.asking:8.1f} {timing.queries:8} {timing.size / 1000:6.0f}"
            f"  {timing.place.name}"
        )
    slow = sum(timing.median >= MILLISECONDS_MAX for timing in timings)
    broken = [(place, status) for place, status in closed if status not in CLOSED]
    for place, status in broken:
        print(f"  answers {status}: {place.name}  {place.path}")
    print(
        f"{len(timings)} places, {slow} of them in {MILLISECONDS_MAX} ms or more; {len(broken)} broken,"
        f" {len(closed) - len(broken)} open to nobody"
    )
    return 1 if slow or broken else 0


def sign_in() -> dict[str, Any]:
    """A signed-in test client for each role."""
    import os

    from django.test import Client
    from django_otp.oath import totp

    from accounts.credentials import PasswordHash
    from accounts.services import staff
    from core.audit import Actor
    from tests import factories

    staff.define_roles()
    clients = {}
    for role in ROLES:
        key = os.urandom(20)
        user = staff.enlist_staff(
            email=f"bench-{role}@desk.example",
            name=role.title(),
            role=role,
            password=PasswordHash(factories.password_hash()),
            totp_key=key,
            actor=Actor.system("bench"),
        )
        client = Client(raise_request_exception=False)
        form = {"username": user.email, "password": factories.PASSWORD, "otp_token": f"{totp(key):06d}"}
        answer = client.post("/admin/login/", form)
        assert answer.status_code == 302, answer.content
        clients[role] = client
    return clients


# --- Where to look --------------------------------------------------------------------------------------------------


def places() -> Iterator[Place]:
    """Everything there is to see, as the site and the pages register it."""
    from django.contrib import admin

    yield Place("home", "/admin/")
    yield from pages()
    for model, model_admin in admin.site._registry.items():  # noqa: SLF001 - the site offers no other list of what it shows
        yield from list_of(model, model_admin)


def list_of(model: Any, model_admin: Any) -> Iterator[Place]:
    """A model's list, its searches and filters, and rows of it."""
    from django.db.models import QuerySet
    from django.urls import NoReverseMatch, reverse

    options = model._meta
    name, url = options.label, f"admin:{options.app_label}_{options.model_name}"
    try:
        path = reverse(f"{url}_changelist")
    except NoReverseMatch:
        return
    last = min(-(-QuerySet(model).count() // model_admin.list_per_page), 10_000 // model_admin.list_per_page)
    for label, query in (("", ""), (" page 2", "?p=2"), (" last page", f"?p={last}")):
        if not query or last > 1:
            yield Place(f"{name}{label}", f"{path}{query}")
    rows = samples(model)
    for label, row in rows.items():
        if not isinstance(row.pk, bytes | memoryview):  # the admin has no address for those
            yield Place(f"{name} one: {label}", reverse(f"{url}_change", args=[row.pk]))
    for field in model_admin.search_fields:
        for label, row in rows.items():
            if (term := value_of(row, field)) is not None:
                yield Place(f"{name} search {field}: {label}", f"{path}?{urlencode({'q': term})}")
    for term in NOWHERE if model_admin.search_fields else ():
        yield Place(f"{name} search: {term}", f"{path}?{urlencode({'q': term})}")
    for title, choice, query in filters(model_admin):
        yield Place(f"{name} filter {title}: {choice}", f"{path}{query}")


def samples(model: Any) -> dict[str, Any]:
    """The newest row, the oldest, and one of the busiest client's."""
    from django.db.models import QuerySet

    from accounts.models import User

    rows: Any = QuerySet(model).order_by("pk")
    found = {"newest": rows.last(), "oldest": rows.first()}
    busiest = User.objects.get(email=BUSIEST).pk
    fields = {field.name for field in model._meta.fields}
    if model is User:
        found["busiest"] = rows.get(pk=busiest)
    elif "owner" in fields:
        found["busiest"] = rows.filter(owner=busiest).last()
    return {label: row for label, row in found.items() if row is not None}


def value_of(row: Any, field: str) -> str | None:
    """What somebody would type to find this row by this field of the search."""
    for part in field.lstrip("=^@").split("__"):
        if row is None or part == "iexact":
            break
        row = getattr(row, "pk" if part == "id" else part, None)
    return None if row in (None, "") else str(row)


def filters(model_admin: Any) -> Iterator[tuple[str, str, str]]:
    """Each choice of each of a list's filters, as the page offers them."""
    from django.contrib.auth import get_user_model
    from django.test import RequestFactory

    request: Any = RequestFactory().get("/admin/")
    request.user = get_user_model()(is_active=True, is_staff=True, is_superuser=True)
    changes = model_admin.get_changelist_instance(request)
    for spec in changes.filter_specs:
        for choice in spec.choices(changes):
            if "query_string" in choice and choice["query_string"] != "?":
                yield str(spec.title), str(choice.get("display", "?")), choice["query_string"]


def pages() -> Iterator[Place]:
    """The pages of our own: for a row, where one is about a row, and for what staff type into the box that finds."""
    from django.urls import reverse

    from config.back_office.pages import PAGES

    for page in PAGES.values():
        if "GET" not in page.methods:
            continue
        names = [part.split(">")[0].split(":")[-1] for part in page.route.split("<")[1:]]
        path = {name: subject(page.name, name) for name in names}
        if None in path.values():
            print(f"  there is nothing to open {page.name} for")
        else:
            yield Place(f"page {page.name}", reverse(f"admin:{page.name}", kwargs=path))
    if "find" in PAGES:
        for label, typed in finds():
            yield Place(f"find {label}", f"{reverse('admin:find')}?{urlencode({'q': typed})}")


#: What pages are about whose path does not say it; a `client_id` is a client's, `withdrawal_id` a withdrawal's.
SUBJECTS = {
    "ledger-transaction": "wallets.LedgerTransaction",
    "order": "trading.Order",
    "audit-event": "core.AuditEvent",
    "break": "reconciliation.Break",
}
VALUES = {"request_id": "req-3-1", "name": "fold_house", "symbol": "EURUSD"}


def subject(page: str, name: str) -> Any:
    """What the busiest client gives a path for this parameter, else the newest of its kind; None if there is none."""
    from django.apps import apps

    from accounts.models import User
    from wallets.models import Wallet

    if name in VALUES:
        return VALUES[name]
    busiest = User.objects.get(email=BUSIEST).pk
    if name in {"client_id", "owner"}:
        return busiest
    if name == "user_id":
        return User.objects.filter(is_staff=True).values_list("pk", flat=True).last()
    if name == "number":
        return Wallet.objects.get(owner=busiest, kind="MARGIN").number
    if name == "pk":
        model = apps.get_model(SUBJECTS[page])
    else:
        (model,) = [model for model in apps.get_models() if f"{model._meta.model_name}_id" == name]
    rows = samples(model)
    row = rows.get("busiest", rows.get("newest"))
    return None if row is None else row.pk


def finds() -> Iterator[tuple[str, str]]:
    """What people know of a client: every kind of it, and what is nobody's."""
    from accounts.models import User
    from wallets import bank
    from wallets.models import BankAccount, LedgerTransaction

    client = User.objects.get(email=BUSIEST)
    iban = "DE89370400440532013000"
    details = bank.validate_bank_details(code_type="IBAN", code="", number=iban)
    BankAccount.objects.filter(owner=client).update(number_hash=bank.number_hash(details))
    transaction = LedgerTransaction.objects.filter(owner=client.pk).order_by("pk").last()
    known = {
        "client number": getattr(client, "number", None),
        "account number": client.trading_accounts.get().number,
        "wallet number": client.wallets.get(kind="CASH").number,
        "email": client.email,
        "phone": client.phone,
        "name": client.name,
        "transaction": transaction and str(transaction.pk),
        "IBAN": iban,
        "nobody's word": "nobody",
        "nobody's id": NOWHERE[0],
    }
    yield from ((label, typed) for label, typed in known.items() if typed)


# --- Looking --------------------------------------------------------------------------------------------------------


def measure(wanted: list[Place], staff: dict[str, Any], rounds: int) -> tuple[list[Timing], list[tuple[Place, int]]]:
    """Ask for every place so often; those that no role may open, or that fail, apart."""
    from tqdm import tqdm

    timings, closed = [], []
    queue = deque(wanted)
    with tqdm(total=len(queue), unit="place", leave=False) as progress:
        while queue:
            place = queue.popleft()
            client, status = who_may(place, staff)
            if status != 200:
                closed.append((place, status))
            else:
                timing, views = look(client, place, rounds)
                timings.append(timing)
                queue.extend(views)
                progress.total += len(views)
            progress.update()
    return timings, closed


def who_may(place: Place, staff: dict[str, Any]) -> tuple[Any, int]:
    """The first of the roles to whom the place opens, or what the first of them was told."""
    status = 0
    for client in staff.values():
        status = ask(client, place).status_code
        if status == 200:
            return client, status
        if status not in CLOSED:
            break
    return None, status


def ask(client: Any, place: Place) -> Any:
    """What the place answers; where it knows a better one, as the box that finds does, what that one answers."""
    return client.get(place.path, follow=place.name.startswith("find "))


def look(client: Any, place: Place, rounds: int) -> tuple[Timing, list[Place]]:
    """
    The same request again and again, its queries counted.

    With a page of our own come its other views: tabs, filters and next pages, whatever it links to below its own path.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    took, asking, asked, content = [], [], 0, b""
    for _ in range(rounds):
        with CaptureQueriesContext(connection) as queries:
            began = time.perf_counter()
            answer = ask(client, place)
            content = b"".join(answer) if answer.streaming else answer.content
            took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, place
        asked = len(queries)
        asking.append(sum(float(query["time"]) for query in queries) * 1000)
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    views = []
    if place.name.startswith("page ") and "?" not in place.path:
        to_itself = re.compile(rf'href="(?:{re.escape(place.path)})?(\?[^"#]+)"')
        found = {unescape(query) for query in to_itself.findall(content.decode(errors="replace"))}
        views = [Place(f"{place.name} {query}", place.path + query) for query in sorted(found)]
    return Timing(statistics.median(took), p95, statistics.median(asking), asked, len(content), place), views


if __name__ == "__main__":
    raise SystemExit(main())
