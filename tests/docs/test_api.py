"""What the page for app developers says about resending is true of its own code, whatever gets lost on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count
from types import ModuleType
from typing import Any

import pytest

from core.errors import REGISTRY
from tests import cast
from tests.docs.pages import DOCS, example
from tests.live_desk import LiveDesk
from wallets import verification
from wallets.models import Transfer

PAGE = DOCS / "API.md"
INTENTS, LOST = 24, 2

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return example(PAGE)


@pytest.fixture
def losing(page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's client, behind a link that carries each request and loses its first answers."""
    monkeypatch.setattr(page.time, "sleep", lambda _: None)

    class Losing(page.Desk):  # type: ignore[name-defined]  # made of the page
        def __init__(self, url: str, token: str) -> None:
            super().__init__(url, token)
            self.sent: dict[str, Iterator[int]] = {}

        def post(self, path: str, body: Any, key: str) -> Any:
            answer = super().post(path, body, key)
            if next(self.sent.setdefault(key, count())) < LOST:
                raise ConnectionResetError("the answer is lost")
            return answer

    return Losing


def test_every_intent_has_one_effect_however_often_it_is_sent(
    page: ModuleType, losing: Any, live_desk: LiveDesk
) -> None:
    alice, bob = cast.alice(), cast.bob()
    desk = losing(f"{live_desk.url}/api/v1", alice.token)
    body = {"source": alice.cash.number, "target": bob.cash.number, "amount": "1.00"}
    with ThreadPoolExecutor(8) as threads:
        receipts = list(
            threads.map(lambda key: desk.send("transfers", body, key), [page.new_key() for _ in range(INTENTS)])
        )
    assert {next(sent) for sent in desk.sent.values()} == {LOST + 1}
    assert len({receipt["transaction"] for receipt in receipts}) == INTENTS == Transfer.objects.count()
    alice.cash.refresh_from_db()
    assert alice.cash.balance == Decimal("1000.00") - INTENTS
    assert not verification.verify_ledger().found.total()


def test_a_refusal_is_told_at_once(page: ModuleType, live_desk: LiveDesk) -> None:
    alice, bob = cast.alice(), cast.bob()
    body = {"source": alice.cash.number, "target": bob.cash.number, "amount": "5000.00"}
    with pytest.raises(page.Refused) as refused:
        page.Desk(f"{live_desk.url}/api/v1", alice.token).send("transfers", body, page.new_key())
    assert refused.value.problem["code"] == "INSUFFICIENT_FUNDS"
    assert refused.value.problem["context"]["available"] == "1000.00"
    assert Transfer.objects.count() == 0


def test_who_gets_no_answer_is_told_to_keep_the_key(page: ModuleType, losing: Any) -> None:
    desk, key = losing("http://127.0.0.1:9/api/v1", "nobody"), page.new_key()
    with pytest.raises(TimeoutError, match=key):
        desk.send("transfers", {}, key, patience=0.5)


def test_the_page_names_codes_that_exist() -> None:
    import config.urls  # noqa: F401 - every room with its refusals

    codes = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE.read_text()))
    assert codes >= {"IDEMPOTENCY_IN_PROGRESS", "OUTCOME_UNKNOWN"}
    assert codes - REGISTRY.keys() == set()
