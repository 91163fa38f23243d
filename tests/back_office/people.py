"""Clients about whom there is something to see in every section, and staff who may see just so much."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from accounts.models import User, Verification
from accounts.services import freezes
from config.back_office.clients.services import notes
from core.audit import Actor, ActorKind
from tests import cast, database, factories
from tests.cast import CastMember, StaffMember
from tests.referrals.deals import closed, plan, run
from tests.trading.calls import place
from tests.wallets.calls import bank_account, deposit, transfer, withdraw
from tests.wallets.test_back_office import signed_in

#: What gets a member of staff through the door, wherever that is asked for.
DOOR = ("accounts.enter_back_office",)
CLEAR = "accounts.see_personal_data"
LOOK = "accounts.view_user"

ADDRESS = {
    "line1": "1 Acacia Avenue",
    "line2": "",
    "city": "London",
    "region": "",
    "postal_code": "N1",
    "country": "GB",
}


def staff(*permissions: str) -> Client:
    """Signed in, with these permissions and no others."""
    return signed_in(StaffMember(staff_user(*permissions)))


def staff_user(*permissions: str) -> User:
    user: User = factories.Staff.create()
    for name in (*DOOR, *permissions):
        app, codename = name.split(".")
        permission = Permission.objects.filter(content_type__app_label=app, codename=codename).first()
        if permission is None and name == CLEAR:
            permission = Permission.objects.create(
                content_type=ContentType.objects.get_for_model(User), codename=codename, name=name
            )
        if permission is not None:
            with database.as_owner():  # the desk itself gives roles, and nothing else
                user.user_permissions.add(permission)
    return user


def superuser() -> Client:
    return signed_in(cast.carol_staff(email="root@desk.example"))


def busy(*, referrer: User | None = None, number: str = "DE89370400440532013000", **person: Any) -> CastMember:
    """A live client who did one of everything; prices and a plan have to be there."""
    who = cast.make_client(
        balance=Decimal("5000.00"),
        margin=Decimal("50000.00"),
        address=ADDRESS,
        date_of_birth="1990-05-17",
        referred_by=referrer,
        **person,
    )
    bank_account(who, number=number)
    closed(who)
    for made in (
        deposit(who, "100.00"),
        withdraw(who, "20.00"),
        transfer(who, who.margin, "30.00"),
        place(who, type="LIMIT", price="1.10000"),
        place(who),
    ):
        assert made.status_code == 201, made.json()
    Verification.objects.create(
        owner=who.user,
        status=Verification.Status.SUBMITTED,
        documents=[{"kind": "PASSPORT", "reference": f"uploads/{who.user.pk}", "submitted_at": None}],
    )
    freezes.place_freeze(
        owner=who.user.pk, scope="WITHDRAWALS", reason=f"Alert about {who.user.name}", actor=Actor.system("test")
    )
    writer = Actor(id=factories.Staff.create(name=f"Writer about {who.user.name}").pk, kind=ActorKind.STAFF)
    notes.add_note(client=who.user.pk, text=f"Called about {who.user.name}", actor=writer)
    return who


def pair() -> tuple[CastMember, CastMember]:
    """Two busy clients, each of whom was referred by a client of their own, who earned something by it."""
    plan()
    first = busy(email="alice@example.com", name="Alice Archer", phone="+442079460101")
    second = busy(email="bob@example.com", name="Bob Bennett", number="GB82WEST12345698765432")
    for referrer in (first, second):
        client = cast.make_client(margin=Decimal("50000.00"), referred_by=referrer.user)
        closed(client)
    run("accrue_commissions")
    return first, second


def text_of(response: Any) -> str:
    """What a page says, without its markup and without the side bar and the search box on every page."""
    page = response.content.decode()
    main = page[page.index('id="main"') :]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main)))
