"""Whose caps protect a client is told by their country, and is on their account from the day it is opened."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
from django.conf import settings as desk_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings

from accounts import jurisdictions
from accounts.models import TradingAccount, User
from accounts.rules import COUNTRIES
from tests import cast
from tests.accounts import bodies

EEA = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()


def signed_up(kind: str, **form: object) -> TradingAccount:
    body = bodies.demo(**form) if kind == "demo" else bodies.live(**form)
    answer = cast.api_client().post(f"/api/v1/signup/{kind}", body, **bodies.key())
    assert answer.status_code == 201, answer.json()
    account = TradingAccount.objects.get(number=answer.json()["trading_account"]["number"])
    assert answer.json()["trading_account"]["jurisdiction"] == account.jurisdiction
    return account


# --- Countries ------------------------------------------------------------------------------------------------------


def test_the_thirty_countries_of_the_eea_are_under_esma() -> None:
    assert len(set(EEA)) == 30
    assert {jurisdictions.jurisdiction_of(country) for country in EEA} == {"ESMA"}


def test_every_country_of_the_file_is_one_and_is_there_once() -> None:
    with (jurisdictions.DATA / "jurisdictions.csv").open(newline="") as file:
        listed = [row["country"] for row in csv.DictReader(file)]
    assert len(listed) == len(set(listed))
    assert set(EEA) < set(listed) < COUNTRIES


@pytest.mark.parametrize("country, jurisdiction", [("GB", "FCA"), ("AU", "ASIC"), ("GI", "DESK"), ("BR", "DESK")])
def test_other_countries_have_their_regulator_or_the_desks_default(country: str, jurisdiction: str) -> None:
    assert jurisdictions.jurisdiction_of(country) == jurisdiction


@pytest.mark.parametrize("country", ["", "ZZ", "de", "  "])
def test_who_lives_nowhere_we_know_is_held_to_the_strictest(country: str) -> None:
    assert jurisdictions.jurisdiction_of(country) == "ESMA"


def test_an_installation_chooses_what_the_rest_of_the_world_gets() -> None:
    with override_settings(JURISDICTION_DEFAULT="ASIC"):
        assert [jurisdictions.jurisdiction_of(country) for country in ("BR", "DE", "")] == ["ASIC", "ESMA", "ESMA"]


@pytest.mark.parametrize("name", ["", "desk", "ESMAA", "CYSEC"])
def test_a_default_that_nobody_knows_stops_the_start(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="ASIC, DESK, ESMA, FCA"):
        jurisdictions.require_known(name)


def test_the_start_asks() -> None:
    environment = {**os.environ, "JURISDICTION_DEFAULT": "CYSEC"}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(
        command, env=environment, cwd=desk_settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "JURISDICTION_DEFAULT='CYSEC' is none of ASIC, DESK, ESMA, FCA" in done.stderr


# --- Accounts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["demo", "live"])
@pytest.mark.parametrize("country, jurisdiction", [("DE", "ESMA"), ("GB", "FCA"), ("BR", "DESK")])
def test_an_account_is_opened_under_its_owners_jurisdiction(
    db: None, kind: str, country: str, jurisdiction: str
) -> None:
    assert signed_up(kind, country=country).jurisdiction == jurisdiction


def test_a_demo_client_who_goes_live_from_elsewhere_takes_the_demo_account_along(db: None) -> None:
    stranger = signed_up("demo", country="BR")
    demo = signed_up("demo", country="BR")
    client = cast.api_client(cast.issue_token(User.objects.get(pk=demo.owner_id)))
    form = bodies.live(country="DE")
    del form["email"], form["password"], form["phone"]
    answer = client.post("/api/v1/signup/live", form, **bodies.key())
    assert answer.status_code == 201, answer.json()
    accounts = TradingAccount.objects.filter(owner=demo.owner_id).order_by("id")
    assert [(one.environment, one.jurisdiction) for one in accounts] == [("DEMO", "ESMA"), ("LIVE", "ESMA")]
    stranger.refresh_from_db()
    assert stranger.jurisdiction == "DESK"
    shown = client.get("/api/v1/me").json()["trading_accounts"]
    assert [one["jurisdiction"] for one in shown] == ["ESMA", "ESMA"]


def test_a_client_cannot_choose_a_jurisdiction(db: None) -> None:
    body = bodies.demo(country="DE", jurisdiction="DESK")
    answer = cast.api_client().post("/api/v1/signup/demo", body, **bodies.key())
    assert (answer.status_code, answer.json()["code"]) == (400, "UNKNOWN_FIELD")
    assert not TradingAccount.objects.exists()


def test_a_row_that_names_none_has_the_strictest(db: None) -> None:
    """As code does that runs beside a newer database and has never heard of jurisdictions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_default FROM information_schema.columns"
            " WHERE table_name = 'accounts_tradingaccount' AND column_name = 'jurisdiction'"
        )
        assert cursor.fetchone() == ("'ESMA'::character varying",)
