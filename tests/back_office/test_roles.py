"""What a role may do is written down twice, in the code and by somebody who did not look; and the groups agree."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from accounts import rules
from accounts.services import staff
from core.models import JobRun
from tests import source

#: Which roles look at a table: S(upport), K(yc), F(inance), D(ealing), A(uditor), P(eople: the role `admin`).
VIEWS = {
    "accounts.apitoken": "K   A P",
    "accounts.freeze": "S K F D A",
    "accounts.referrerchange": "K F A",
    "accounts.staffsession": "A P",
    "accounts.tradingaccount": "S K F D A",
    "accounts.user": "S K F D A P",
    "accounts.verification": "S K F D A",
    "alerts.alert": "K F A",
    "alerts.alertcursor": "A",
    "alerts.alertnote": "K F A",
    "alerts.alertrule": "K A",
    "clients.clientnote": "S K F D A",
    "core.auditevent": "K F A",
    "core.idempotencykey": "F A",
    "core.jobrun": "F D A",
    "core.killswitch": "F D A",
    "core.throttlewindow": "A",
    "dashboards.figure": "K F D A",
    "dashboards.figureset": "K F D A",
    "exports.export": "K F A",
    "reconciliation.break": "F A",
    "reconciliation.run": "F A",
    "referrals.accrual": "K F A",
    "referrals.bonusidentity": "K F A",
    "referrals.bonuspolicy": "K F A",
    "referrals.commission": "S K F A",
    "referrals.commissionplan": "K F A",
    "referrals.debt": "K F A",
    "referrals.debtsettlement": "K F A",
    "referrals.signupbonus": "S K F A",
    "trading.accountchange": "K F D A",
    "trading.accountwatch": "K F D A",
    "trading.deal": "S K F D A",
    "trading.holiday": "K F D A",
    "trading.instrument": "S K F D A",
    "trading.leveragecap": "K F D A",
    "trading.marginevent": "S K F D A",
    "trading.order": "S K F D A",
    "trading.position": "S K F D A",
    "trading.priceband": "K F D A",
    "trading.pricebatch": "K F D A",
    "trading.priceclock": "K F D A",
    "trading.quote": "K F D A",
    "trading.quotealert": "K F D A",
    "trading.quotetick": "K F D A",
    "trading.riskcursor": "K F D A",
    "trading.risktask": "K F D A",
    "trading.swap": "S K F D A",
    "trading.tradingsession": "K F D A",
    "wallets.adjustment": "K F A",
    "wallets.bankaccount": "S K F A",
    "wallets.deposit": "S K F A",
    "wallets.entry": "S K F D A",
    "wallets.ledgertransaction": "S K F D A",
    "wallets.paymentreport": "K F A",
    "wallets.seal": "K F A",
    "wallets.transfer": "S K F A",
    "wallets.unfoldedleg": "K F A",
    "wallets.wallet": "S K F D A",
    "wallets.withdrawal": "S K F A",
}

#: Which roles do what.
DOES = {
    "accounts.add_freeze": "K",
    "accounts.add_referrerchange": "K",
    "accounts.administer_staff": "P",
    "accounts.change_freeze": "K",
    "accounts.change_referrerchange": "K",
    "accounts.change_verification": "K",
    "accounts.enter_back_office": "S K F D A P",
    "accounts.see_personal_data": "K F A P",
    "alerts.add_alertnote": "K F",
    "alerts.change_alert": "K",
    "clients.add_clientnote": "S K F D",
    "core.change_killswitch": "D",
    "exports.add_export": "K F A",
    "reconciliation.change_break": "F",
    "referrals.change_commission": "F",
    "trading.change_instrument": "D",
    "wallets.add_adjustment": "F",
    "wallets.change_adjustment": "F",
    "wallets.change_deposit": "F",
    "wallets.change_withdrawal": "F",
}

LETTERS = {"support": "S", "kyc": "K", "finance": "F", "dealing": "D", "auditor": "A", "admin": "P"}

#: What reads or prepares, and moves nothing: all that an auditor may have beside looking.
WRITES_NOTHING = {"accounts.enter_back_office", "accounts.see_personal_data", "exports.add_export"}

#: Where money is, and what decides about it.
MONEY = ("wallets", "trading", "referrals", "queues", "reconciliation", "exports")


def written_down(role: str) -> set[str]:
    views = {table.replace(".", ".view_") for table, roles in VIEWS.items() if LETTERS[role] in roles.split()}
    return views | {name for name, roles in DOES.items() if LETTERS[role] in roles.split()}


def held(role: str) -> set[str]:
    """What the group in the database has."""
    rows = Permission.objects.filter(group__name=role).values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


@pytest.mark.parametrize("role", LETTERS)
def test_a_role_has_what_is_written_down_and_no_more(db: None, role: str) -> None:
    staff.define_roles()
    assert sorted(held(role)) == sorted(written_down(role))


def test_every_table_and_every_role_is_in_it(db: None) -> None:
    tables = {model._meta.label_lower for app in source.our_apps() for model in app.get_models()}
    assert sorted(VIEWS) == sorted(tables)
    assert LETTERS.keys() == rules.ROLES.keys()


def test_the_auditor_looks_at_everything_and_writes_nothing(db: None) -> None:
    staff.define_roles()
    views = {f"{app.label}.view_{model._meta.model_name}" for app in source.our_apps() for model in app.get_models()}
    assert views <= held("auditor")
    assert held("auditor") - views <= WRITES_NOTHING


def test_who_administers_people_sees_no_money(db: None) -> None:
    staff.define_roles()
    assert [name for name in held("admin") if name.startswith(MONEY)] == []
    decides = {name for role in ("kyc", "finance", "dealing") for name in held(role) if ".view_" not in name}
    assert held("admin") & decides <= WRITES_NOTHING
    assert [role for role in rules.ROLES if "accounts.administer_staff" in held(role)] == ["admin"]


def test_no_role_deletes_anything_or_sees_a_librarys_table(db: None) -> None:
    staff.define_roles()
    everybodys = {name for role in rules.ROLES for name in held(role)}
    assert [name for name in everybodys if ".delete_" in name] == []
    assert [name for name in everybodys if name.partition(".")[0] in staff.LIBRARIES] == []


def test_who_decides_about_money_does_not_decide_who_may(db: None) -> None:
    staff.define_roles()
    for role in rules.ROLES:
        assert not ({"wallets.change_withdrawal", "accounts.administer_staff"} <= held(role))
        assert not ({"wallets.change_withdrawal", "accounts.change_verification"} <= held(role))


@pytest.mark.parametrize("views,does", [(("wallets.nothing",), ()), (("nowhere.*",), ()), ((), ("wallets.steal",))])
def test_a_name_that_means_nothing_stops_it(
    db: None, monkeypatch: pytest.MonkeyPatch, views: tuple[str, ...], does: tuple[str, ...]
) -> None:
    staff.define_roles()
    before = {role: held(role) for role in rules.ROLES}
    named = (*views, *does)[0]
    monkeypatch.setitem(rules.ROLES, "finance", rules.Role(views, does))
    with pytest.raises(ImproperlyConfigured, match=f"finance names what is not there: {named.replace('*', '.')}"):
        staff.define_roles()
    assert {role: held(role) for role in rules.ROLES} == before


def test_what_was_added_by_hand_is_taken_away(db: None) -> None:
    staff.define_roles()
    support = Group.objects.get(name="support")
    support.permissions.add(Permission.objects.get(codename="change_withdrawal"))
    Group.objects.create(name="friends").permissions.set(Permission.objects.all())
    call_command("define_roles")
    assert held("support") == written_down("support")
    assert set(Group.objects.values_list("name", flat=True)) == set(rules.ROLES)
    job: Any = JobRun.objects.get(name="define_roles")
    assert (job.status, set(job.counts)) == ("SUCCEEDED", set(rules.ROLES))
