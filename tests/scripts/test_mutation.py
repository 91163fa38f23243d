"""A mistake is made only when it is asked for, and every kind that people make is among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.mutation import operators, switch

SOURCE = '''
"""Sums."""

from decimal import Decimal

LIMIT = Decimal("1.5")
SQL = """
SELECT balance FROM wallet
 WHERE id = 7 AND balance > 0
 ORDER BY id
   FOR NO KEY UPDATE
"""


def half(amount: Decimal, seen: list[str]) -> Decimal:
    """Half of it, or nothing."""
    assert amount is not None
    seen.append("called")
    if amount < LIMIT or not seen:
        return Decimal(0)
    return amount / 2


class Wallet:
    @property
    def is_open(self) -> bool:
        return self.balance >= 0 and True
'''


@pytest.fixture
def written() -> tuple[dict[str, Any], list[operators.Mistake]]:
    text, mistakes = operators.instrument(SOURCE, "sums.py", 1)
    space: dict[str, Any] = {}
    exec(compile(text, "sums.py", "exec"), space)
    return space, mistakes


def said(mistakes: list[operators.Mistake]) -> set[tuple[str, str]]:
    return {(one.before, one.after) for one in mistakes}


def test_every_kind_of_mistake_is_written_down(written: tuple[dict[str, Any], list[operators.Mistake]]) -> None:
    _, mistakes = written
    assert [one.number for one in mistakes] == list(range(1, len(mistakes) + 1))
    assert {
        ("'1.5'", "'1.51'"),
        ("seen.append('called')", "pass"),
        ("amount < LIMIT", "amount <= LIMIT"),
        ("amount < LIMIT or not seen", "amount < LIMIT and (not seen)"),
        ("not seen", "seen"),
        ("return Decimal(0)", "return None"),
        ("amount / 2", "amount * 2"),
        ("2", "3"),
        ("self.balance >= 0", "self.balance > 0"),
        ("True", "False"),
    } <= said(mistakes)
    in_sql = [one.after for one in mistakes if one.before.startswith(("…", "'")) and "SELECT" in one.before + one.after]
    assert len(in_sql) >= 4
    assert not [one for one in mistakes if "is not None" in one.before or "Sums" in one.before]


def test_nothing_is_wrong_until_a_mistake_is_made_and_then_only_that(
    written: tuple[dict[str, Any], list[operators.Mistake]], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, mistakes = written
    half: Callable[[Any, list[str]], Any] = space["half"]
    four = space["Decimal"](4)
    assert half(four, []) == 2
    by_text = {(one.before, one.after): one.number for one in mistakes}
    monkeypatch.setattr(switch, "active", by_text["amount / 2", "amount * 2"])
    assert half(four, []) == 8
    monkeypatch.setattr(switch, "active", by_text["seen.append('called')", "pass"])
    assert half(four, []) == 0  # nothing was seen
    assert {by_text["amount / 2", "amount * 2"], by_text["amount < LIMIT", "amount <= LIMIT"]} <= switch.reached


def test_a_mistake_has_the_same_key_until_its_file_changes() -> None:
    _, first = operators.instrument(SOURCE, "sums.py", 1)
    _, later = operators.instrument(SOURCE, "sums.py", 500)
    _, changed = operators.instrument(SOURCE + "\n", "sums.py", 1)
    assert [one.key for one in first] == [one.key for one in later]
    assert not {one.key for one in first} & {one.key for one in changed}


def test_a_statement_loses_its_lock_its_order_and_its_conditions() -> None:
    wrong = set(
        operators.other_sql("SELECT 1\n  FROM w\n WHERE a = 1\n   AND b < 2\n ORDER BY id\n   FOR NO KEY UPDATE OF w\n")
    )
    assert "SELECT 1\n  FROM w\n WHERE a = 1\n   AND b < 2\n ORDER BY id\n" in wrong
    assert "SELECT 1\n  FROM w\n WHERE a = 1\n ORDER BY id\n   FOR NO KEY UPDATE OF w\n" in wrong
    assert "SELECT 1\n  FROM w\n WHERE a = 1\n   AND b <= 2\n ORDER BY id\n   FOR NO KEY UPDATE OF w\n" in wrong


@pytest.mark.parametrize("path", ["core/db.py", "core/idempotency.py", "wallets/ledger.py", "trading/margin/bands.py"])
def test_what_is_written_is_still_the_module(path: str) -> None:
    text, mistakes = operators.instrument(Path(path).read_text(), path, 1)
    compile(text, path, "exec")
    assert len(mistakes) > 50


def test_what_is_wrong_from_the_start_is_near_to_what_uses_it(
    written: tuple[dict[str, Any], list[operators.Mistake]],
) -> None:
    _, mistakes = written
    by_text = {(one.before, one.after): one for one in mistakes}
    limit, halves = by_text["'1.5'", "'1.51'"], by_text["amount / 2", "amount * 2"]
    assert {limit.number, halves.number} <= limit.near
    assert by_text["self.balance >= 0", "self.balance > 0"].number not in limit.near


def test_what_is_asserted_is_left_as_it_is() -> None:
    source = "@dataclass(frozen=True, order=True)\nclass A:\n    pairs = zip([], [], strict=True)\n"
    _, mistakes = operators.instrument(source, "a.py", 1)
    assert said(mistakes) == {("True", "False")}
    assert len(mistakes) == 1
