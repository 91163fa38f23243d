"""The example that the page on transactions teaches with is run as it stands there."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django.db import close_old_connections, connection, transaction

from core.audit import Actor
from core.db import ClaimHeldElsewhere
from core.idempotency import Answer, Claim
from tests import cast
from tests.cast import CastMember
from tests.database import Clone
from tests.docs.pages import DOCS, example
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, session_dies, worker_dies
from wallets import ledger, verification
from wallets.models import LedgerTransaction, Wallet

PAGE = DOCS / "TRANSACTION_PATTERNS.md"
FLOOR = Decimal("100.00")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return example(PAGE)


@pytest.fixture
def alice(committed_db: Clone) -> CastMember:
    """She has 1,000.00, and another wallet with nothing in it."""
    return cast.alice()


def sweep(page: ModuleType, who: CastMember, *, key: str = "sweep-0123456789", target: Wallet | None = None) -> Answer:
    close_old_connections()
    request = {"source": who.cash.number, "target": (target or who.margin).number, "floor": FLOOR}
    claim = Claim.make(operation=page.SWEEP, owner=who.user.id, key=key, request=request, instance="/sweeps")
    answer: Answer = page.sweep_wallet(**request, claim=claim, actor=Actor.system("example"))
    return answer


def balances(who: CastMember) -> tuple[Decimal, Decimal]:
    who.cash.refresh_from_db()
    who.margin.refresh_from_db()
    return who.cash.balance, who.margin.balance


def swept() -> int:
    return LedgerTransaction.objects.filter(type="TRANSFER").count()


def ledger_is_clean() -> bool:
    return not verification.verify_ledger().found.total()


def test_it_moves_what_it_says(page: ModuleType, alice: CastMember) -> None:
    cash, margin = balances(alice)
    answer = sweep(page, alice)
    assert (answer.status, answer.document["amount"], answer.document["balance"]) == (201, "900.00", "100.00")
    assert balances(alice) == (FLOOR, margin + cash - FLOOR)
    assert ledger_is_clean()


def test_a_repetition_has_the_same_bytes_and_no_effect(page: ModuleType, alice: CastMember) -> None:
    first, after = sweep(page, alice), balances(alice)
    again = sweep(page, alice)
    assert (again.replayed, again.body) == (True, first.body)
    assert (balances(alice), swept()) == (after, 1)


def test_a_refusal_is_stored_and_leaves_everything_as_it_was(page: ModuleType, alice: CastMember) -> None:
    sweep(page, alice)
    after = balances(alice)
    refused = sweep(page, alice, key="another-0123456789")
    assert (refused.status, refused.document["code"]) == (422, "EXAMPLE_NOTHING_TO_SWEEP")
    assert refused.document["context"]["available"] == "100.00"
    assert sweep(page, alice, key="another-0123456789").replayed
    assert (balances(alice), swept()) == (after, 1)


def test_somebody_elses_wallet_is_not_found(page: ModuleType, alice: CastMember) -> None:
    bob, before = cast.bob(), balances(alice)
    with pytest.raises(page.WalletNotFound):
        sweep(page, alice, target=bob.cash)
    assert (balances(alice), swept()) == (before, 0)


@pytest.mark.parametrize("keys", [1, 16])
def test_sixteen_at_once_have_one_effect(page: ModuleType, alice: CastMember, keys: int) -> None:
    """One key: one of them acts. Sixteen keys: one of them finds something to sweep."""

    def act(place: int) -> Any:
        try:
            return sweep(page, alice, key=f"at-once-0123456789-{place % keys}").status
        except ClaimHeldElsewhere:
            return 409
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(act, range(16)))
    assert 201 in statuses
    assert statuses.count(422) == (15 if keys == 16 else 0)
    assert (balances(alice)[0], swept()) == (FLOOR, 1)
    assert ledger_is_clean()


@pytest.mark.parametrize("death", ["session", "worker"])
def test_whenever_something_dies_sending_it_again_has_one_effect(
    page: ModuleType, alice: CastMember, committed_db: Clone, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    with session_dies(committed_db.url, 0, monkeypatch) as counting:
        sweep(page, alice)
    assert counting.statements == 3  # claim, lock, post
    for times, at in enumerate([*range(1, counting.statements + 1), BEFORE_COMMIT, AFTER_COMMIT], start=2):
        refill(alice)
        key = f"dying-0123456789-{times}"
        if death == "worker":
            worker_dies(at, monkeypatch, lambda used=key: sweep(page, alice, key=used))  # type: ignore[misc]
        else:
            with session_dies(committed_db.url, at, monkeypatch) as fault:
                first = sweep(page, alice, key=key)
            assert fault.struck
            assert first.status == 201
        assert answered(page, alice, key).status == 201
        assert (balances(alice)[0], swept()) == (FLOOR, times)
    assert ledger_is_clean()


def refill(who: CastMember) -> None:
    with transaction.atomic():
        (wallet,) = ledger.lock_wallets_by_id(who.cash.id)
        cast.fund(wallet, Decimal("50.00"))


def answered(page: ModuleType, who: CastMember, key: str) -> Answer:
    """The answer, as soon as the server has noticed that who held the key is gone."""
    for _ in range(100):
        try:
            return sweep(page, who, key=key)
        except ClaimHeldElsewhere:
            time.sleep(0.05)
    pytest.fail("the key stayed locked")


def test_the_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE.read_text()))
    assert named
    assert [name for name in named if not (DOCS.parent / name).exists()] == []
