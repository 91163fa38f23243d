"""A plan is data: a version is put in force once, ends its predecessor, and reaches into nobody's past."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.audit import Actor
from core.models import AuditEvent
from referrals.models import CommissionPlan
from referrals.rules import PlanChanged, PlanMalformed
from referrals.services import plans
from tests.referrals.deals import STANDARD, plan, run

pytestmark = pytest.mark.django_db


def load(**terms: Any) -> bool:
    return plans.load_plan(document=STANDARD | terms, actor=Actor.system("test"))


def test_the_desks_own_plan_pays_five_one_and_a_half() -> None:
    assert run("load_plans") == {"job": "load_plans", "loaded": 1, "known": 0}
    (standard,) = CommissionPlan.objects.all()
    assert standard.rates == [Decimal("5.00"), Decimal("1.00"), Decimal("0.50")]
    assert (standard.currency, standard.cap_percent, standard.seconds_held_min) == ("USD", 60, 180)
    assert "BE" in standard.countries_barred
    assert AuditEvent.objects.filter(action="referrals.plan.put_in_force", object_id=str(standard.pk)).count() == 1


def test_loading_twice_changes_nothing() -> None:
    run("load_plans")
    before = CommissionPlan.objects.values().get()
    assert run("load_plans") == {"job": "load_plans", "loaded": 0, "known": 1}
    assert CommissionPlan.objects.values().get() == before


def test_a_version_in_use_is_not_changed() -> None:
    plan()
    with pytest.raises(PlanChanged) as refusal:
        load(rates=["9.00"], cap_percent="50")
    assert refusal.value.context == {"plan": "standard v1", "differs": "rates, cap_percent"}
    assert CommissionPlan.objects.get().rates[0] == 5


def test_a_new_version_begins_now_whatever_it_says_and_ends_the_one_before() -> None:
    first = plan()
    before = timezone.now()
    second = plan(version=2, rates=["4.00"], valid_from="2022-01-01T00:00:00+00:00")
    first.refresh_from_db()
    assert first.valid_to == second.valid_from
    assert before <= second.valid_from <= timezone.now()


def test_a_new_version_may_begin_later() -> None:
    first = plan()
    later = timezone.now() + timedelta(days=3)
    second = plan(version=2, rates=["4.00"], valid_from=later.isoformat())
    first.refresh_from_db()
    assert first.valid_to == second.valid_from == later


def test_deals_and_first_deposits_have_a_plan_each() -> None:
    deals = plan()
    plan(code="welcome", kind="FIRST_DEPOSIT", rates=["25"], deposit_min="100", lots_min="1")
    deals.refresh_from_db()
    assert deals.valid_to is None


def test_the_database_keeps_two_plans_from_being_in_force_at_once() -> None:
    first = plan()
    with pytest.raises(IntegrityError, match="commissionplan_one_for_deals"), transaction.atomic():
        CommissionPlan.objects.create(
            code="other", version=1, kind="PER_LOT", currency="USD", rates=[1], valid_from=first.valid_from
        )


@pytest.mark.parametrize(
    "terms",
    [
        {"kind": "PER_MOON"},
        {"rates": []},
        {"rates": ["1", "1", "1", "1"]},
        {"rates": ["-1"]},
        {"rates": ["NaN"]},
        {"rates": ["five"]},
        {"cap_percent": "0"},
        {"cap_percent": "100.01"},
        {"currency": ""},
        {"currency": "XXX"},
        {"weights": {"EURUSD": "-1"}},
        {"weights": {"EURUSD": "much"}},
        {"version": 0},
        {"valid_from": "soon"},
        {"lots_min": "1"},
        {"kind": "FIRST_DEPOSIT"},
        {"kind": "FIRST_DEPOSIT", "deposit_min": "100", "lots_min": "0"},
        {"kind": "PERCENT_OF_COMMISSION"},
        {"kind": "PERCENT_OF_COMMISSION", "currency": "", "rates": ["101"]},
        {"bonus": "yes"},
    ],
    ids=str,
)
def test_a_document_that_is_no_plan_is_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(PlanMalformed):
        load(**terms)
    assert not CommissionPlan.objects.exists()


@pytest.mark.usefixtures("committed_db")
def test_the_command_fails_on_a_file_that_contradicts_what_is_in_force(tmp_path: Path) -> None:
    run("load_plans")
    file = tmp_path / "plans.json"
    file.write_text(json.dumps([STANDARD | {"rates": ["9.00"]}]))
    with pytest.raises(CommandError):
        run("load_plans", file=file)
    assert CommissionPlan.objects.get().rates[0] == 5
