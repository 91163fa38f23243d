"""The demo cast is there after one run, and the same cast after any number of them."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password
from django.core.management import call_command
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import ApiToken, User
from accounts.services import sessions
from core.audit import Actor
from tests import cast
from tests.database import Clone
from wallets.models import Deposit, Transfer, Wallet


def run(path: Path) -> dict[str, Any]:
    call_command("demo_cast", output=str(path), api_url="http://a", admin_url="http://b", docs_url="http://c")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "demo.json"


def test_writes_who_can_log_in_and_with_what(committed_db: Clone, path: Path) -> None:
    document = run(path)
    assert (document["api_url"], document["admin_url"], document["docs_url"]) == ("http://a", "http://b", "http://c")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [member["role"] for member in document["staff"]] == [
        "support",
        "kyc",
        "finance",
        "dealing",
        "auditor",
        "admin",
    ]
    for member in document["staff"]:
        user = User.objects.get(email=member["email"])
        assert user.is_staff
        assert not user.is_superuser
        assert check_password(member["password"], user.password)
        assert [group.name for group in user.groups.all()] == [member["role"]]
        device = TOTPDevice.objects.get(user=user, confirmed=True)
        assert device.bin_key == base64.b32decode(member["totp_secret"])


def test_clients_stand_at_their_stages(committed_db: Clone, path: Path) -> None:
    clients = {client["name"].split()[0]: client for client in run(path)["clients"]}
    stages = {}
    for name, client in clients.items():
        me = cast.api_client(client["token"]).get("/api/v1/me").json()
        verification = me["verification"] and me["verification"]["status"]
        stages[name] = (me["trading_accounts"][0]["environment"], verification)
        assert me["email_confirmed"]
    assert stages == {
        "Alice": ("LIVE", "APPROVED"),
        "Bob": ("LIVE", "APPROVED"),
        "Carol": ("DEMO", None),
        "Dave": ("LIVE", "PENDING"),
    }
    assert [wallet["balance"] for wallet in clients["Alice"]["wallets"]] == ["6000.00", "4000.00"]
    assert [wallet["balance"] for wallet in clients["Carol"]["wallets"]] == ["10000.00"]
    assert [wallet["balance"] for wallet in clients["Dave"]["wallets"]] == ["0.00", "0.00"]


def test_market_data_token_pushes_quotes_and_does_nothing_else(committed_db: Clone, path: Path) -> None:
    feed = cast.api_client(run(path)["market_data_token"])
    refused = feed.get("/api/v1/me")
    assert (refused.status_code, json.loads(refused.content)["code"]) == (403, "SCOPE_MISSING")
    assert ApiToken.objects.get(scopes=["market_data"]).owner.email == "dealing@desk.example"


def test_a_second_run_changes_nothing(committed_db: Clone, path: Path) -> None:
    first = run(path)
    counts = [model.objects.count() for model in (User, Wallet, Deposit, Transfer, ApiToken, TOTPDevice)]
    assert run(path) == first
    assert [model.objects.count() for model in (User, Wallet, Deposit, Transfer, ApiToken, TOTPDevice)] == counts


def test_a_dead_token_is_replaced(committed_db: Clone, path: Path) -> None:
    first = run(path)["clients"][0]
    owner = User.objects.get(email=first["email"])
    sessions.revoke_tokens(owner=owner.pk, actor=Actor.system())
    second = run(path)["clients"][0]
    assert second["token"] != first["token"]
    assert second["password"] == first["password"]
    assert cast.api_client(second["token"]).get("/api/v1/me").status_code == 200


def test_a_lost_file_is_written_again_with_new_passwords(committed_db: Clone, path: Path) -> None:
    first = run(path)
    path.unlink()
    second = run(path)
    for before, after in zip(first["clients"] + first["staff"], second["clients"] + second["staff"], strict=True):
        user = User.objects.get(email=after["email"])
        assert after["password"] != before["password"]
        assert check_password(after["password"], user.password)
    assert Deposit.objects.count() == 2
