"""What a client does that somebody should ask about, through the real API, and what the rules then find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import time_machine
from django.core.management import call_command
from django.utils import timezone

from config.back_office.alerts.models import Alert, AlertRule
from config.back_office.alerts.services import rulebook
from core.audit import Actor
from tests import cast
from tests.cast import CastMember
from tests.wallets import calls


def load_rules() -> None:
    """The rules as they are delivered."""
    call_command("load_alert_rules", stdout=StringIO())


def amend(code: str, **terms: Any) -> AlertRule:
    """A new version of a rule with other terms; `is_on` and `severity` may be given too."""
    newest = AlertRule.objects.filter(code=code).latest("version")
    document = {
        "code": code,
        "version": newest.version + 1,
        "is_on": terms.pop("is_on", newest.is_on),
        "severity": terms.pop("severity", newest.severity),
        "terms": newest.terms | terms,
    }
    assert rulebook.load_rule(document=document, actor=Actor.system("test"))
    return AlertRule.objects.get(code=code, version=newest.version + 1)


def raise_alerts(*arguments: str, **options: Any) -> dict[str, Any]:
    """Run the command and read what it counted."""
    out = StringIO()
    call_command("raise_alerts", *arguments, as_json=True, stdout=out, **options)
    counts: dict[str, Any] = json.loads(out.getvalue())
    return counts


def found(code: str) -> list[Alert]:
    """What this rule has raised so far, after one more look."""
    raise_alerts()
    return list(Alert.objects.filter(code=code).order_by("pk"))


@contextmanager
def ago(**span: float) -> Iterator[None]:
    """The same desk, so long before now."""
    with time_machine.travel(timezone.now() - timedelta(**span), tick=False):
        yield


def client(*, days_old: int = 0, **person: Any) -> CastMember:
    """A live client who signed up that long ago and is signed in now."""
    with ago(days=days_old):
        who = cast.make_client(**({"balance": Decimal(0)} | person))
    return signed_in(who)


def signed_in(who: CastMember) -> CastMember:
    """The same client with a token from now."""
    return replace(who, api=cast.api_client(cast.issue_token(who.user)))


def pays_in(who: CastMember, amount: str, *, days: float = 0, **options: Any) -> str:
    """A deposit so many days ago; the posting's id."""
    with ago(days=days):
        response = calls.deposit(signed_in(who), amount, **options)
    assert response.status_code == 201, response.content
    return str(response.json()["transaction"])


def takes_out(who: CastMember, amount: str) -> str:
    """A withdrawal asked for now; its id."""
    if not who.user.bank_accounts.exists():
        calls.bank_account(who, number="GB29NWBK60161331926819")
    response = calls.withdraw(who, amount)
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def logs_in(who: CastMember, address: str) -> None:
    """A log-in from a network address."""
    response = cast.api_client().post(
        "/api/v1/auth/token", {"email": who.user.email, "password": cast.PASSWORD}, REMOTE_ADDR=address
    )
    assert response.status_code == 201, response.content
