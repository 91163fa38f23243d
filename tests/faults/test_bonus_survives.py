"""Whenever the database or the worker dies while a bonus is given or ended, doing it again has exactly one effect."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import close_old_connections
from django.utils import timezone

from core.errors import OutcomeUnknown
from referrals.models import BonusIdentity, SignupBonus
from referrals.services import bonuses
from tests.cast import CastMember
from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, session_dies, worker_dies
from tests.faults.test_kill_at_every_statement import moments, nothing_is_broken, sent_until_done
from tests.referrals.newcomers import claim, margin, newcomer, offer
from tests.referrals.test_bonuses import let_time_pass
from tests.trading import prices
from tests.wallets.calls import key
from trading.models import AccountWatch
from wallets.models import LedgerTransaction


@pytest.fixture
def url(committed_db: Clone) -> str:
    prices.open_market()
    offer()
    return committed_db.url


def send(who: CastMember, used: str) -> Any:
    close_old_connections()  # what Django does as a request starts; its test client leaves it out
    return claim(who, key=used)


def effects(who: CastMember) -> tuple[Any, ...]:
    wallet = margin(who)
    rows = (LedgerTransaction.objects.filter(type="BONUS"), SignupBonus.objects, BonusIdentity.objects)
    watched = AccountWatch.objects.filter(account=who.account).values_list("funds", flat=True).first()
    counts = tuple(each.filter(owner=who.user).count() for each in rows)
    return (*counts, wallet.credit, wallet.balance, wallet.version, watched)


def test_a_claim_has_one_effect_whenever_the_database_dies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who = newcomer()
    with session_dies(url, 0, monkeypatch) as counting:
        assert send(who, key()).status_code == 201
    effect = effects(who)
    assert effect[:3] == (1, 1, 3)
    for at in moments(counting):
        who, used = newcomer(), key()
        with session_dies(url, at, monkeypatch) as fault:
            first = send(who, used)
        assert fault.struck, at
        assert first.status_code in {201, 503}, at
        again = send(who, used)
        assert again.status_code == 201, (at, again.content)
        assert effects(who) == effect, at
    nothing_is_broken()


def test_a_claim_has_one_effect_whenever_the_worker_dies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who = newcomer()
    with session_dies(url, 0, monkeypatch) as counting:
        assert send(who, key()).status_code == 201
    effect = effects(who)
    for at in moments(counting):
        who, used = newcomer(), key()
        worker_dies(at, monkeypatch, partial(send, who, used))
        again = sent_until_done(partial(send, who, used))
        assert again.status_code == 201, (at, again.content)
        assert again.headers["Idempotent-Replayed"] == ("true" if at == AFTER_COMMIT else "false"), at
        assert effects(who) == effect, at
    nothing_is_broken()


def test_an_end_has_one_effect_whenever_the_database_dies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ending() -> tuple[CastMember, Any]:
        who = newcomer()
        assert claim(who).status_code == 201
        let_time_pass()
        bonus = SignupBonus.objects.get(owner=who.user)
        return who, partial(bonuses.expire_bonus, bonus_id=bonus.pk, until=timezone.now())

    who, expire = ending()
    with session_dies(url, 0, monkeypatch) as counting:
        assert expire() is not None
    effect = effects(who)
    assert effect[0] == 2
    for at in moments(counting):
        who, expire = ending()
        with session_dies(url, at, monkeypatch) as fault:
            try:
                expire()
            except OutcomeUnknown:
                assert at in {BEFORE_COMMIT, AFTER_COMMIT}
        assert fault.struck, at
        expire()
        assert effects(who) == effect, at
    nothing_is_broken()
