"""Staff see every plan, deal and reward, and change none of them by hand."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from referrals.models import Debt
from referrals.services import reversals
from tests.cast import carol_staff
from tests.referrals.deals import closed, lineage, pay, plan
from tests.referrals.test_reversals import spend
from tests.trading.prices import Push
from tests.wallets.test_back_office import signed_in

MODELS = ("commissionplan", "accrual", "commission", "debt", "debtsettlement")


@pytest.fixture
def office(market: Push) -> Client:
    """A signed-in member of staff, and a row of everything to look at."""
    carol = carol_staff()
    plan()
    client, (referrer,) = lineage(1)
    closed(client)
    pay()
    spend(referrer, "2.00")
    (row,) = referrer.user.commissions.all()
    reversals.reverse_commission(commission_id=row.pk, reason="wash trading", actor=carol.actor)
    closed(client)
    pay()
    return signed_in(carol)


def books() -> list[Any]:
    return [list(apps.get_model("referrals", model)._default_manager.order_by("pk").values()) for model in MODELS]


@pytest.mark.parametrize("model", MODELS)
def test_everything_can_be_looked_at_and_nothing_changed(office: Client, model: str) -> None:
    before = books()
    row = apps.get_model("referrals", model)._default_manager.first()
    assert row is not None
    assert office.get(f"/admin/referrals/{model}/").status_code == 200
    assert office.get(f"/admin/referrals/{model}/?q=nothing-has-this").status_code == 200
    page = office.get(f"/admin/referrals/{model}/{row.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert office.get(f"/admin/referrals/{model}/add/").status_code == 403
    assert office.post(f"/admin/referrals/{model}/{row.pk}/change/", {"amount": "1"}).status_code == 403
    assert office.post(f"/admin/referrals/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {"action": "delete_selected", "_selected_action": [str(row.pk)], "index": "0", "post": "yes"}
    office.post(f"/admin/referrals/{model}/", form)
    assert books() == before
    assert Debt.objects.count() == 1


def test_every_table_is_among_them() -> None:
    tables = {model._meta.model_name for model in apps.get_app_config("referrals").get_models()}
    assert set(MODELS) <= tables
