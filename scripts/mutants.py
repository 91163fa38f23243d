"""
A safeguard counts only if a test misses it: each of these is taken out in a copy, and the test that it has must fail.

    python -m scripts.mutants [NAME ...]

Prints one line per safeguard, and ends with 1 if a test did not notice, or fails without anything being taken out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from scripts import environment

HOME = environment.VAR / "mutants"
LEFT_OUT = shutil.ignore_patterns("var", ".venv", ".git", "__pycache__", ".*_cache", "staticfiles")
SECONDS_MAX = 240
TEST_FAILED = 1  # what pytest ends with when it ran the tests and some failed; anything else is no verdict


@dataclass(frozen=True, slots=True)
class Mutant:
    """One safeguard: where it stands, what is there instead without it, and the test that says so."""

    name: str
    path: str
    edits: tuple[tuple[str, str], ...]
    test: str

    def apply(self, tree: Path) -> str:
        """Take it out of a copy, and return what the file said before."""
        path = tree / self.path
        before = text = path.read_text()
        for old, new in self.edits:
            if text.count(old) != 1:
                raise SystemExit(f"{self.name}: {self.path} has {text.count(old)} places that say {old!r}")
            text = text.replace(old, new)
        path.write_text(text)
        return before


MUTANTS = (
    Mutant(
        "the wallet lock",
        "wallets/ledger.py",
        (("   FOR NO KEY UPDATE OF w\n", ""),),
        "tests/concurrency/test_wallets_at_once.py::test_the_whole_balance_is_withdrawn_once",
    ),
    Mutant(
        "the lock order",
        "wallets/ledger.py",
        ((" ORDER BY w.owner_id, w.id\n", " ORDER BY array_position(ARRAY[{keys}], w.{key})\n"),),
        "tests/concurrency/test_wallets_at_once.py::test_there_and_back_keeps_the_total_without_a_deadlock",
    ),
    Mutant(
        "the retry",
        "core/db.py",
        (("    @functools.wraps(func)\n    def wrapper(", "    return func\n\n    def wrapper("),),
        "tests/core/test_retry.py::test_a_deadlock_is_run_again_and_both_succeed",
    ),
    Mutant(
        "the key in the money's transaction",
        "wallets/ledger.py",
        (
            ("is_answered=claim is not None, records=texts)", "is_answered=False, records=texts)"),
            ("    assert answered == (claim is not None)\n", ""),
        ),
        "tests/faults/test_kill_at_every_statement.py::test_a_request_has_one_effect_whenever_the_database_dies",
    ),
    Mutant(
        "the append-only trigger",
        "wallets/sql/guards.sql",
        (("BEFORE UPDATE OR DELETE OR TRUNCATE ON wallets_entry\n", "BEFORE TRUNCATE ON wallets_entry\n"),),
        "tests/wallets/test_guards.py::test_what_happened_cannot_be_changed",
    ),
    Mutant(
        "the zero-sum trigger",
        "wallets/sql/judge_entries.sql",
        (("sums.total <> 0 OR sums.legs < 2", "sums.legs < 2"),),
        "tests/wallets/test_guards.py::test_legs_sum_to_zero",
    ),
    Mutant(
        "ownership",
        "wallets/services/transfers.py",
        (("    if source.owner != claim.owner:\n        raise WalletNotFound(number=source.number)\n", ""),),
        "tests/wallets/test_transfer.py::test_somebody_elses_source_does_not_exist",
    ),
    Mutant(
        "the strict parser",
        "core/api/parsing.py",
        (("object_pairs_hook=_object", "object_pairs_hook=dict"),),
        "tests/core/test_parsing.py::test_refuses_a_name_that_appears_twice",
    ),
    Mutant(
        "the deadline",
        "core/db.py",
        (("    if left is None or left >= STATEMENT_TIMEOUT_MS:\n", "    if left is None or left >= 0:\n"),),
        "tests/core/test_deadline.py::test_a_statement_in_a_transaction_ends_with_the_deadline",
    ),
    Mutant(
        "the shedding",
        "core/middleware.py",
        (("self.places.acquire(blocking=False)", "self.places.acquire(timeout=30)"),),
        "tests/core/test_middleware.py::test_sheds_what_exceeds_the_places_at_once",
    ),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="Only safeguards with these words in their names.")
    names = parser.parse_args(arguments).names
    chosen = [one for one in MUTANTS if not names or any(name in one.name for name in names)]
    if not chosen:
        parser.error("no safeguard has such a name: " + ", ".join(one.name for one in MUTANTS))
    tree = copied()
    unmoved = [one for one in chosen if not tell(one, tree, with_it=True)]
    unnoticed = [one for one in chosen if not tell(one, tree, with_it=False)]
    shutil.rmtree(HOME)
    print(f"\n{len(chosen) - len(unnoticed)} of {len(chosen)} safeguards are missed by their test when they are gone")
    return 1 if unmoved or unnoticed else 0


def copied() -> Path:
    """The repository as it stands, to be spoiled."""
    shutil.rmtree(HOME, ignore_errors=True)
    tree = HOME / "tree"
    shutil.copytree(environment.ROOT, tree, ignore=LEFT_OUT, symlinks=True)
    (tree / ".venv").symlink_to(environment.ROOT / ".venv")
    return tree


def tell(one: Mutant, tree: Path, *, with_it: bool) -> bool:
    """Run a safeguard's test with it or without it, say what came of it, and whether that is as it should be."""
    started = time.monotonic()
    before = None if with_it else one.apply(tree)
    try:
        status, output = run(one.test, tree)
    finally:
        if before is not None:
            (tree / one.path).write_text(before)
    is_right = status == (0 if with_it else TEST_FAILED)
    said = {0: "passes", TEST_FAILED: "fails"}.get(status, f"ends with {status}")
    state = "with   " if with_it else "without"
    verdict = "" if is_right else "   <- should not"
    print(f"{state} {one.name:36} {one.test} {said} ({time.monotonic() - started:.0f} s){verdict}", flush=True)
    if not is_right:
        print(output[-3000:], flush=True)
    return is_right


def run(test: str, tree: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", test]
    inherited = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DESK_VAR"}}
    try:
        done = subprocess.run(
            command, cwd=tree, env=inherited, timeout=SECONDS_MAX, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return TEST_FAILED, "it waited for ever"
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
