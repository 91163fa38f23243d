"""What the ledger's own checks cannot see, because everything in it agrees, its seal does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command

from tests import ledger_cast
from tests.database import Clone
from tests.wallets import books
from tests.wallets.books import Books, breaks, corrupt, query, rechain
from wallets import seals, verification
from wallets.models import Entry, Seal, Wallet
from wallets.services.seals import SealRefused, seal_ledger


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.LEDGER_SEAL_DIR = tmp_path / "seals"
    return tmp_path / "seals"


@pytest.fixture
def day(committed_db: Clone, folder: Path) -> Books:
    return books.keep()


@pytest.fixture
def sealed(day: Books) -> Seal:
    return seal_ledger()


def export_of(seal: Seal, folder: Path) -> Path:
    return folder / seal.export


# --- Sealing --------------------------------------------------------------------------------------------------------


def test_a_seal_covers_every_clients_wallet_in_order(day: Books, folder: Path) -> None:
    seal = seal_ledger()
    lines = export_of(seal, folder).read_text().splitlines()
    expected = [
        f"{id_} {version} {bytes(head).hex()}"
        for id_, version, head in query(
            "SELECT id, version, head FROM wallets_wallet WHERE kind IN ('CASH', 'MARGIN') ORDER BY id"
        )
    ]
    assert lines[0] == "desk-ledger-seal 1"
    assert lines[1].startswith("sealed_at 2")
    assert lines[2:-1] == expected
    assert len(expected) == seal.wallets == 4
    assert seal.entries == sum(int(line.split()[1]) for line in expected) == 17


def test_an_export_can_be_checked_with_a_shell_and_the_public_key(sealed: Seal, folder: Path) -> None:
    path = export_of(sealed, folder)
    digest = subprocess.run(["sh", "-c", f"head -n -1 {path} | sha256sum"], capture_output=True, text=True, check=True)
    assert digest.stdout.split()[0] == bytes(sealed.digest).hex()
    label, signature, key = path.read_text().splitlines()[-1].split()
    assert label == "signature"
    Ed25519PrivateKey.from_private_bytes(bytes.fromhex(os.environ["LEDGER_SEAL_KEY"])).public_key().verify(
        bytes.fromhex(signature), bytes.fromhex(digest.stdout.split()[0])
    )
    assert bytes.fromhex(key) == bytes(sealed.public_key) == seals.public_key()


def test_an_export_is_private_and_nothing_is_left_beside_it(sealed: Seal, folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == [sealed.export]
    assert export_of(sealed, folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_sealed_ledger_may_grow(day: Books, sealed: Seal) -> None:
    ledger_cast.transfer(day.alice, day.bob, "1.00")
    ledger_cast.wallet("5")
    report = verification.verify_ledger()
    assert (report.seal, report.breaks) == (str(sealed.id), [])


def test_the_next_seal_follows_the_last(day: Books, sealed: Seal) -> None:
    ledger_cast.transfer(day.alice, day.bob, "1.00")
    later = seal_ledger()
    assert later.entries == sealed.entries + 2
    assert breaks() == {}
    assert verification.verify_ledger().seal == str(later.id)


def test_an_empty_ledger_can_be_sealed(committed_db: Clone, folder: Path) -> None:
    assert seal_ledger().wallets == 0
    assert breaks() == {}


def test_a_seal_sees_one_moment(day: Books, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Any] = []

    def meanwhile(_: int) -> None:
        if not moved:
            moved.extend(ledger_cast.at_once(lambda: ledger_cast.transfer(day.bob, day.alice, "0.01").status))

    seal = seal_ledger(on_progress=meanwhile)
    assert (moved, seal.entries) == ([201], 17)
    assert breaks() == {}


# --- What only the seal notices -------------------------------------------------------------------------------------


def cut_the_tail(day: Books) -> None:
    """Undo the last transfer without a trace: entries, transaction, key, and both wallets as they were before."""
    ((posting,),) = query("SELECT transaction_id FROM wallets_transfer")
    corrupt("DELETE FROM wallets_transfer WHERE transaction_id = %s", posting)
    corrupt("DELETE FROM core_idempotencykey WHERE effect_id = %s", posting)
    corrupt("DELETE FROM wallets_ledgertransaction WHERE id = %s", posting)
    _remove_entries_of(posting)


def _remove_entries_of(posting: UUID) -> None:
    """Take a transaction's entries out of two clients' chains, close the gaps and compute every figure again."""
    for wallet in Wallet.objects.filter(pk__in=Entry.objects.filter(transaction=posting).values("wallet")):
        gone = Entry.objects.get(transaction=posting, wallet=wallet)
        corrupt("DELETE FROM wallets_entry WHERE id = %s", gone)
        later = Entry.objects.filter(wallet=wallet, wallet_version__gt=gone.wallet_version).order_by("wallet_version")
        for entry in later:
            corrupt(
                "UPDATE wallets_entry SET wallet_version = wallet_version - 1, balance_after = balance_after - %s"
                " WHERE id = %s",
                gone.amount,
                entry,
            )
        corrupt(
            "UPDATE wallets_wallet SET balance = balance - %s, version = version - 1 WHERE id = %s", gone.amount, wallet
        )
        rechain(wallet)


def rewrite_history(day: Books) -> None:
    """Make an old transfer one dollar larger everywhere, with every later balance and every digest computed again."""
    ((posting,),) = query("SELECT transaction_id FROM wallets_transfer")
    corrupt("UPDATE wallets_transfer SET amount = amount + 1 WHERE transaction_id = %s", posting)
    for wallet, sign in ((day.alice, -1), (day.bob, 1)):
        first = Entry.objects.get(transaction=posting, wallet=wallet)
        corrupt("UPDATE wallets_entry SET amount = amount + %s WHERE id = %s", sign, first)
        corrupt(
            "UPDATE wallets_entry SET balance_after = balance_after + %s WHERE wallet_id = %s AND wallet_version >= %s",
            sign,
            wallet,
            first.wallet_version,
        )
        corrupt("UPDATE wallets_wallet SET balance = balance + %s WHERE id = %s", sign, wallet)
        rechain(wallet)


@pytest.fixture
def forgeries(day: Books) -> dict[str, Callable[[Books], None]]:
    return {"cut": cut_the_tail, "rewritten": rewrite_history}


@pytest.mark.parametrize("forgery", ["cut", "rewritten"])
def test_without_a_seal_a_perfect_forgery_goes_unnoticed(
    day: Books, forgery: str, forgeries: dict[str, Callable[[Books], None]]
) -> None:
    forgeries[forgery](day)
    assert breaks() == {}


@pytest.mark.parametrize("forgery", ["cut", "rewritten"])
def test_the_seal_notices_a_perfect_forgery(
    day: Books, sealed: Seal, forgery: str, forgeries: dict[str, Callable[[Books], None]]
) -> None:
    forgeries[forgery](day)
    report = verification.verify_ledger()
    assert set(report.found) == {"sealed_chains_stand"}
    assert {found.subject for found in report.breaks} == {f"wallet {day.alice.pk}", f"wallet {day.bob.pk}"}


def test_the_seal_notices_a_wallet_that_is_gone(day: Books, sealed: Seal) -> None:
    idle = ledger_cast.wallet()
    seal_ledger()
    corrupt("DELETE FROM wallets_wallet WHERE id = %s", idle)
    report = verification.verify_ledger()
    assert [found.detail for found in report.breaks] == ["its head was on record, and it is gone"]


def test_taking_the_seal_out_of_the_database_does_not_help(day: Books, sealed: Seal) -> None:
    rewrite_history(day)
    corrupt("DELETE FROM wallets_seal")
    assert set(breaks()) == {"sealed_chains_stand"}


def test_an_older_seal_does_not_hide_what_the_newest_saw(day: Books, sealed: Seal) -> None:
    ledger_cast.transfer(day.bob, day.alice, "3.00")
    newer = seal_ledger()
    corrupt("DELETE FROM wallets_seal WHERE id = %s", newer)
    ((posting,),) = query("SELECT transaction_id FROM wallets_transfer ORDER BY id DESC LIMIT 1")
    corrupt("DELETE FROM wallets_transfer WHERE transaction_id = %s", posting)
    corrupt("DELETE FROM core_idempotencykey WHERE effect_id = %s", posting)
    corrupt("DELETE FROM wallets_ledgertransaction WHERE id = %s", posting)
    _remove_entries_of(posting)
    assert breaks() == {"sealed_chains_stand": 2}


def test_an_export_whose_seal_was_never_recorded_is_evidence_and_no_break(day: Books, sealed: Seal) -> None:
    corrupt("DELETE FROM wallets_seal")  # as if the process had died between the file and the commit
    assert breaks() == {}
    seal_ledger()
    assert breaks() == {}


# --- What is no seal ------------------------------------------------------------------------------------------------


def forge(path: Path, key: Ed25519PrivateKey, seal: Seal) -> None:
    """Sign the export anew, as somebody would who has rewritten it, and put the signature into the database as well."""
    body = b"".join(path.read_bytes().splitlines(keepends=True)[:-1])
    digest = sha256(body).digest()
    signature, public = key.sign(digest), key.public_key().public_bytes_raw()
    path.write_bytes(body + f"signature {signature.hex()} {public.hex()}\n".encode())
    corrupt(
        "UPDATE wallets_seal SET digest = %s, signature = %s, public_key = %s WHERE id = %s",
        digest,
        signature,
        public,
        seal,
    )


def test_a_seal_by_another_key_is_not_genuine(day: Books, sealed: Seal, folder: Path) -> None:
    forge(export_of(sealed, folder), Ed25519PrivateKey.generate(), sealed)
    report = verification.verify_ledger()
    assert [(found.check, found.detail) for found in report.breaks] == [
        ("seal_is_genuine", "it is not signed with our key")
    ]


def test_an_edited_export_is_not_genuine(day: Books, sealed: Seal, folder: Path) -> None:
    path = export_of(sealed, folder)
    lines = path.read_text().splitlines()
    wallet, version, digest = lines[2].split()
    lines[2] = f"{wallet} {int(version) - 1} {digest}"
    path.write_text("\n".join(lines) + "\n")
    assert breaks() == {"seal_is_genuine": 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.rpartition("signature")[0],
        lambda text: text + "and more\n",
        lambda text: "another format" + text,
        lambda text: "\n".join(sorted(text.splitlines(), reverse=True)) + "\n",
        lambda text: text.replace("signature ", "signature ÿ"),
    ],
    ids=["emptied", "cut in half", "signature gone", "longer", "another format", "shuffled", "not ASCII"],
)
def test_a_damaged_export_is_not_genuine(sealed: Seal, folder: Path, damage: Callable[[str], str]) -> None:
    path = export_of(sealed, folder)
    path.write_text(damage(path.read_text()))
    assert breaks() == {"seal_is_genuine": 1}


def test_a_lost_export_is_noticed(sealed: Seal, folder: Path) -> None:
    export_of(sealed, folder).unlink()
    assert breaks() == {"seal_is_genuine": 1}
    shutil.rmtree(folder)
    assert breaks() == {"seal_is_genuine": 1}


@pytest.mark.parametrize(
    "change",
    [
        "digest = sha256(digest)",
        "signature = signature || '\\x00'",
        "wallets = wallets + 1",
        "entries = entries - 1",
        "sealed_at = sealed_at - interval '1 day'",
    ],
)
def test_a_row_that_differs_from_its_export_is_noticed(sealed: Seal, change: str) -> None:
    corrupt(f"UPDATE wallets_seal SET {change} WHERE id = %s", sealed)
    assert breaks() == {"seal_is_genuine": 1}


def test_a_row_cannot_point_out_of_the_folder(sealed: Seal, folder: Path) -> None:
    outside = folder.parent / "elsewhere.seal"
    shutil.copy(export_of(sealed, folder), outside)
    corrupt("UPDATE wallets_seal SET export = '../elsewhere.seal'")
    assert breaks() == {"seal_is_genuine": 1}


# --- What is not sealed ---------------------------------------------------------------------------------------------


def test_a_forgery_is_not_sealed_over(day: Books, sealed: Seal, folder: Path) -> None:
    rewrite_history(day)
    with pytest.raises(SealRefused, match="sealed_chains_stand"):
        seal_ledger()
    assert list(Seal.objects.all()) == [sealed]
    assert [path.name for path in folder.iterdir()] == [sealed.export]


def test_a_replaced_key_is_vouched_for_by_name(day: Books, sealed: Seal, settings: Any) -> None:
    before = seals.public_key()
    settings.LEDGER_SEAL_KEY = "ab" * 32
    assert breaks() == {"seal_is_genuine": 1}
    with pytest.raises(SealRefused, match="seal_is_genuine"):
        seal_ledger()
    later = seal_ledger(key_before=before)
    assert bytes(later.public_key) == seals.public_key() != before
    assert breaks() == {}


def test_a_seal_that_fails_half_way_leaves_nothing(day: Books, folder: Path) -> None:
    def fail(_: int) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        seal_ledger(on_progress=fail)
    assert list(folder.iterdir()) == []
    assert not Seal.objects.exists()


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_tells_what_it_sealed(day: Books, folder: Path) -> None:
    out = StringIO()
    call_command("seal_ledger", "--json", stdout=out)
    told, seal = json.loads(out.getvalue()), Seal.objects.get()
    assert (told["wallets"], told["entries"], told["export"]) == (4, 17, seal.export)
    assert told["digest"] == bytes(seal.digest).hex()
    assert told["public_key"] == seals.public_key().hex()


def test_the_command_fails_rather_than_cover_up(day: Books, sealed: Seal) -> None:
    rewrite_history(day)
    with pytest.raises(CommandError, match="Nothing was sealed; sealed_chains_stand"):
        call_command("seal_ledger", stdout=StringIO())
    assert Seal.objects.count() == 1
