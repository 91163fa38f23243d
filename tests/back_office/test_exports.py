"""An export is one moment of the database, whole, in files that prove themselves, and on record before it leaves."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import subprocess
import threading
import time
import tracemalloc
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiToken, Freeze, User
from accounts.services import freezes, switches
from config.back_office.clients.models import ClientNote
from config.back_office.exports import archive, checking, meanings, packing, tables
from config.back_office.exports.models import Export
from config.back_office.exports.packing import ExportTookTooLong
from config.back_office.exports.periods import Period, PeriodRefused
from config.back_office.exports.services import exports
from config.back_office.exports.tables import Scope
from core import snapshot
from core.audit import Actor
from core.errors import NotFound, plain
from core.ids import HOUSE, uuid7
from core.models import AuditEvent
from scripts.back_office import BackOffice
from tests import cast, database
from tests.accounts.test_back_office import enlist, log_in, office
from tests.cast import CastMember
from tests.live_desk import LiveDesk
from tests.trading import calls, prices
from tests.trading.prices import Push
from tests.wallets.books import corrupt
from tests.wallets.calls import IBAN, bank_account, deposit, transfer, withdraw
from trading.models import Deal, Order, Position, QuoteTick
from wallets.models import Deposit, Entry, LedgerTransaction, Seal, Transfer, Withdrawal
from wallets.rules import ReasonRequired
from wallets.services.seals import seal_ledger

REASON = "Letter of the authority, 12 March"
DESK = Actor.system("test")
#: Longer ago than anything in the tests, and later.
AGES = Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Unpacked:
    """A zip, its files by name, and what its manifest says."""

    data: bytes
    files: dict[str, bytes]

    @property
    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.files["MANIFEST.json"])
        return document

    def rows(self, table: str) -> Rows:
        return [json.loads(line) for line in self.files[f"{table}.jsonl"].splitlines()]

    def cells(self, table: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.files[f"{table}.csv"].decode(), newline="")))


def unpack(data: bytes) -> Unpacked:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return Unpacked(data, {entry.filename: file.read(entry) for entry in file.infolist()})


def client_export(client: UUID, period: Period = AGES) -> Unpacked:
    export = exports.ask_for_client(client=client, period=period, reason=REASON, actor=DESK)
    return unpack(b"".join(packing.pack(export, actor=DESK)))


def instrument_export(symbol: str = "EURUSD", period: Period = AGES) -> Unpacked:
    export = exports.ask_for_instrument(symbol=symbol, period=period, reason=REASON, actor=DESK)
    return unpack(b"".join(packing.pack(export, actor=DESK)))


@pytest.fixture
def alice(market: Push) -> CastMember:
    """A client who has done most of what a client can do."""
    return busy_client(market)


@pytest.fixture
def sealed(committed_db: object, settings: Settings, tmp_path: Path) -> tuple[CastMember, Seal]:
    """The same client, really committed, and a seal over what she did."""
    settings.LEDGER_SEAL_DIR = tmp_path / "seals"
    alice = busy_client(prices.open_market())
    return alice, seal_ledger()


def busy_client(market: Push) -> CastMember:
    alice = cast.make_client(
        email="alice@example.com", name="Alice Archer", margin=Decimal("500"), address={"line1": "1 High St"}
    )
    deposit(alice, "75.00")
    bank_account(alice)
    withdraw(alice, "20.00", bank_account=str(bank_account_of(alice)))
    held = calls.place(alice, volume="0.10").json()
    calls.place(alice, volume="0.02", side="SELL", type="LIMIT", price="1.30000")
    market(EURUSD=("1.20200", "1.20210"))
    calls.close(alice, held["position"]["id"])
    freezes.place_freeze(owner=alice.user.pk, scope="DEPOSITS", reason="Source of funds", actor=DESK)
    ClientNote.objects.create(owner=alice.user, author=enlist("kyc"), text="=Asked where it came from")
    return alice


def bank_account_of(who: CastMember) -> UUID:
    key: UUID = who.user.bank_accounts.values_list("pk", flat=True).get()
    return key


def as_stored(row: models.Model, columns: tuple[str, ...]) -> dict[str, Any]:
    """A row as JSON should have it, read through its model."""
    document = {}
    for name in columns:
        field = row._meta.get_field(name)
        value = getattr(row, field.attname)  # type: ignore[union-attr]  # a column, not a relation
        document[name] = bytes(value).hex() if isinstance(value, bytes | memoryview) else plain(value)
    return document


# --- What is in it --------------------------------------------------------------------------------------------------


def test_a_client_is_exported_as_the_database_has_them(alice: CastMember) -> None:
    export = client_export(alice.user.pk)
    scope = Scope(AGES, client=alice.user.pk)
    postings = list(Entry.objects.filter(owner=alice.user).values_list("transaction", flat=True))
    own: dict[str, models.QuerySet[Any]] = {
        "profile": User.objects.filter(pk=alice.user.pk),
        "ledger_transactions": LedgerTransaction.objects.filter(pk__in=postings),
        "transfers": Transfer.objects.filter(transaction__in=postings),
    }
    seen = {}
    for table in tables.tables(scope):
        rows = own.get(table.name) or table.model._default_manager.filter(owner=alice.user.pk)
        # The export itself was finished, and recorded, after its snapshot.
        rows = rows.exclude(action="config.export.made") if table.model is AuditEvent else rows
        expected = [as_stored(row, table.columns) for row in rows.order_by("pk")]
        assert export.rows(table.name) == expected, table.name
        seen[table.name] = len(expected)
    busy = "profile wallets bank_accounts ledger_transactions entries deposits withdrawals orders positions deals"
    assert all(seen[name] for name in f"{busy} freezes audit_events trading_accounts api_tokens notes".split()), seen
    assert (seen["orders"], seen["deals"], seen["wallets"]) == (2, 2, 2)


def test_both_spellings_of_a_table_have_the_same_rows(alice: CastMember) -> None:
    export = client_export(alice.user.pk)
    for table in tables.tables(Scope(AGES, client=alice.user.pk)):
        cells, rows = export.cells(table.name), export.rows(table.name)
        assert [line["id"] for line in cells] == [row["id"] for row in rows]
        assert all(tuple(line) == table.columns for line in cells)
    assert [line["amount"] for line in export.cells("entries")] == [row["amount"] for row in export.rows("entries")]


def test_an_instrument_is_exported_with_everybodys_trades(alice: CastMember) -> None:
    bob = cast.make_client(email="bob@example.com", margin=Decimal("500"))
    calls.place(bob, volume="0.05")
    calls.place(bob, symbol="GBPUSD", volume="0.01")
    switches.throw_kill_switch(scope="TRADING:EURUSD", reason="Feed", actor=DESK)
    switches.throw_kill_switch(scope="TRADING:GBPUSD", reason="Feed", actor=DESK)
    export = instrument_export()
    assert [row["symbol"] for row in export.rows("instrument")] == ["EURUSD"]
    for name, model in (("orders", Order), ("positions", Position), ("deals", Deal), ("quotes", QuoteTick)):
        rows = model._default_manager.filter(instrument="EURUSD").order_by("pk")
        assert [row["id"] for row in export.rows(name)] == [str(row.pk) for row in rows] != []
    assert {row["owner"] for row in export.rows("deals")} == {str(alice.user.pk), str(bob.user.pk)}
    assert [row["scope"] for row in export.rows("kill_switches")] == ["TRADING:EURUSD"]
    assert [row["object_id"] for row in export.rows("audit_events")] == ["TRADING:EURUSD"]
    batches = QuoteTick.objects.filter(instrument="EURUSD").values_list("batch", flat=True)
    assert [row["number"] for row in export.rows("price_batches")] == sorted(batches)
    heads = {head["number"] for head in export.manifest["chain_heads"]}
    assert heads == {alice.margin.number, bob.margin.number}


def test_nobody_elses_rows_are_in_it(alice: CastMember) -> None:
    bob = cast.make_client(email="bob@example.com", margin=Decimal("500"))
    calls.place(bob, volume="0.05")
    everything = b"".join(client_export(alice.user.pk).files.values())
    assert str(alice.user.pk).encode() in everything
    theirs = [bob.user.pk, bob.cash.pk, bob.account.pk, bob.user.email, bob.account.number]
    theirs += Entry.objects.filter(owner=bob.user).values_list("pk", flat=True)
    theirs += Order.objects.filter(owner=bob.user).values_list("pk", flat=True)
    assert [text for text in map(str, theirs) if text.encode() in everything] == []


def test_a_transfer_received_is_in_it_with_its_transaction(alice: CastMember) -> None:
    bob = cast.make_client(email="bob@example.com")
    assert transfer(bob, alice.cash, "12.00").status_code == 201
    export = client_export(alice.user.pk)
    (received,) = export.rows("transfers")
    assert (received["target"], received["amount"]) == (str(alice.cash.pk), "12.00000000")
    assert received["transaction"] in {row["id"] for row in export.rows("ledger_transactions")}
    chained = {row["wallet"] for row in export.rows("entries") if row["wallet_version"] is not None}
    assert chained == {str(alice.cash.pk), str(alice.margin.pk)}


def test_secrets_never_leave(alice: CastMember) -> None:
    everything = b"".join(client_export(alice.user.pk).files.values())
    token = ApiToken.objects.filter(owner=alice.user).latest("pk")
    secrets = [alice.user.password, alice.token, bytes(token.digest).hex(), IBAN, IBAN[4:]]
    for model in (Deposit, Withdrawal, Order, Deal, LedgerTransaction):
        digests = model._default_manager.filter(owner=alice.user).values_list("idempotency_digest", flat=True)
        secrets += [bytes(digest).hex() for digest in digests]
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret.encode() in everything] == []
    assert IBAN[-4:].encode() in everything


def test_bytes_that_leave_are_links_of_a_chain() -> None:
    """A column of bytes that somebody adds is a digest or a cipher: it stays here unless it is named here."""
    every = {
        f"{table.name}.{field.name}"
        for scope in (Scope(AGES, client=HOUSE), Scope(AGES, symbol="EURUSD"))
        for table in tables.tables(scope)
        for field in table.fields
        if isinstance(field, models.BinaryField)
    }
    assert every == {"entries.digest", "wallets.head"}


# --- The dictionary -------------------------------------------------------------------------------------------------


def test_every_column_has_a_meaning_and_every_figure_a_unit() -> None:
    lines = [
        meanings.meaning(table, field)
        for scope in (Scope(AGES, client=HOUSE), Scope(AGES, symbol="EURUSD"))
        for table in tables.tables(scope)
        for field in table.fields
    ]
    assert [f"{line.table}.{line.column}" for line in lines if not line.meaning] == []
    assert [f"{line.table}.{line.column}" for line in lines if line.type.startswith("decimal") and not line.unit] == []
    known = {f"{line.table}.{line.column}" for line in lines}
    assert [name for name in (*meanings.OWN, *meanings.UNITS) if name not in known] == [], "not there any more"


def test_the_dictionary_names_every_column_of_every_file(alice: CastMember) -> None:
    for export in (client_export(alice.user.pk), instrument_export()):
        named = {(line["table"], line["column"]) for line in export.cells("DICTIONARY")}
        for path, content in export.files.items():
            if path.endswith(".csv") and path != "DICTIONARY.csv":
                header = content.decode().splitlines()[0].split(",")
                assert {(path.removesuffix(".csv"), column) for column in header} <= named
        assert export.cells("DICTIONARY")[0]["meaning"] == export.rows("DICTIONARY")[0]["meaning"]


# --- Formulae -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", "＝1+1"])
def test_a_formula_is_text_in_the_csv_and_itself_in_the_json(db: None, name: str) -> None:
    client = cast.make_client(name=name, address={"line1": name})
    export = client_export(client.user.pk)
    (cells,), (row,) = export.cells("profile"), export.rows("profile")
    assert cells["name"] == f"'{name}"
    assert (row["name"], row["address"]) == (name, {"line1": name})
    assert json.loads(cells["address"]) == {"line1": name}
    assert cells["phone"] == f"'{row['phone']}", "a telephone number begins with a plus"


def test_negative_amounts_stay_numbers(alice: CastMember) -> None:
    amounts = [line["amount"] for line in client_export(alice.user.pk).cells("entries")]
    assert any(amount.startswith("-") for amount in amounts)
    assert not any(amount.startswith("'") for amount in amounts)


# --- Periods --------------------------------------------------------------------------------------------------------


def test_a_period_has_its_beginning_and_not_its_end(db: None) -> None:
    client = cast.make_client()
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    edges = {"before": -1, "start": 0, "within": 1, "last": 3_599_999_999, "end": 3_600_000_000}
    for name, microseconds in edges.items():
        AuditEvent.objects.create(
            owner=client.user.pk,
            action=f"test.edge.{name}",
            actor_kind="SYSTEM",
            object_type="test",
            object_id="1",
            created_at=noon + timedelta(microseconds=microseconds),
        )
    hour = Period(noon, noon + timedelta(hours=1))
    actions = [row["action"] for row in client_export(client.user.pk, hour).rows("audit_events")]
    assert actions == ["test.edge.start", "test.edge.within", "test.edge.last"]


@pytest.mark.parametrize(
    "placed,lifted,is_in",
    [(-2, -1, False), (-2, 0, True), (-2, 1, True), (-2, None, True), (0, 1, True), (9, None, True), (10, None, False)],
)
def test_what_lasts_is_in_if_it_lasted_into_the_period(
    db: None, placed: int, lifted: int | None, *, is_in: bool
) -> None:
    client, start = cast.make_client(), datetime(2026, 3, 1, tzinfo=UTC)
    Freeze.objects.create(
        owner=client.user,
        scope="TRADING",
        reason="x",
        placed_by=HOUSE,
        placed_at=start + timedelta(days=placed),
        lifted_at=None if lifted is None else start + timedelta(days=lifted),
        lifted_by=None if lifted is None else uuid7(),
    )
    export = client_export(client.user.pk, Period(start, start + timedelta(days=10)))
    assert len(export.rows("freezes")) == is_in


def test_quotes_are_cut_at_the_same_edges(market: Push) -> None:
    market(EURUSD=("1.20100", "1.20110"))
    first, second = QuoteTick.objects.filter(instrument="EURUSD").order_by("id")
    between = instrument_export(period=Period(first.received_at, second.received_at))
    assert [row["id"] for row in between.rows("quotes")] == [str(first.pk)]
    assert [row["number"] for row in between.rows("price_batches")] == [first.batch_id]
    behind = instrument_export(period=Period(second.received_at, second.received_at + timedelta(seconds=1)))
    assert [row["id"] for row in behind.rows("quotes")] == [str(second.pk)]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    now = timezone.now()
    for end in (now, now - timedelta(days=1)):
        with pytest.raises(PeriodRefused):
            Period.between(now, end)


# --- One moment -----------------------------------------------------------------------------------------------------


def test_what_is_committed_meanwhile_is_not_in_it(committed_db: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PIECE_BYTES", 1)
    client = cast.make_client()
    export = exports.ask_for_client(client=client.user.pk, period=AGES, reason=REASON, actor=DESK)
    pieces = packing.pack(export, actor=DESK)
    data = [next(pieces)]

    def meanwhile() -> None:
        try:
            assert deposit(client, "5.00").status_code == 201
        finally:
            connection.close()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    thread.join()
    made = unpack(b"".join([*data, *pieces]))
    assert Deposit.objects.filter(owner=client.user).count() == 1
    assert (made.rows("deposits"), len(made.rows("entries"))) == ([], 2)
    assert {head["number"]: head["version"] for head in made.manifest["chain_heads"]} == {
        client.cash.number: 1,
        client.margin.number: 0,
    }
    export.refresh_from_db()
    assert export.made_at is not None


def test_a_snapshot_cannot_be_written_through(committed_db: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PIECE_BYTES", 1)
    client = cast.make_client()
    export = exports.ask_for_client(client=client.user.pk, period=AGES, reason=REASON, actor=DESK)
    pieces = packing.pack(export, actor=DESK)
    next(pieces)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only'), current_setting('transaction_isolation')")
        assert cursor.fetchone() == ("on", "repeatable read")
    pieces.close()  # type: ignore[attr-defined]  # a generator
    assert not connection.in_atomic_block


def test_an_export_that_breaks_off_is_never_recorded_as_made(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PIECE_BYTES", 1)
    client = cast.make_client()
    export = exports.ask_for_client(client=client.user.pk, period=AGES, reason=REASON, actor=DESK)
    pieces = packing.pack(export, actor=DESK)
    for _ in range(5):
        next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # a generator
    late = packing.pack(export, actor=DESK, seconds_max=0)
    with pytest.raises(ExportTookTooLong):
        list(late)
    export.refresh_from_db()
    assert (export.made_at, export.manifest_digest, export.rows) == (None, None, None)
    actions = AuditEvent.objects.filter(owner=client.user.pk, action__startswith="config.export")
    assert list(actions.values_list("action", flat=True)) == ["config.export.asked"]


def fill_audit(client: CastMember, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_auditevent (id, owner, action, actor_kind, object_type, object_id, after, reason,"
            " request_id, created_at) SELECT gen_random_uuid(), %s, 'test.row.made', 'SYSTEM', 'test', n::text,"
            " jsonb_build_object('n', n, 'text', md5(n::text)), md5((-n)::text), '', now()"
            " FROM generate_series(1, %s) AS n",
            [client.user.pk, count],
        )


def test_its_length_costs_no_memory(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "STREAM_ROWS", 500)
    peaks, sizes = {}, {}
    for count in (1_000, 12_000):
        client = cast.make_client()
        fill_audit(client, count)
        export = exports.ask_for_client(client=client.user.pk, period=AGES, reason=REASON, actor=DESK)
        tracemalloc.start()
        try:
            sizes[count] = sum(map(len, packing.pack(export, actor=DESK)))
            _, peaks[count] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sizes[12_000] > 8 * sizes[1_000]
    assert peaks[12_000] < peaks[1_000] + 500_000, peaks


# --- Proving it -----------------------------------------------------------------------------------------------------


def test_the_manifest_tells_the_truth_and_standard_tools_agree(sealed: tuple[CastMember, Seal], tmp_path: Path) -> None:
    alice, seal = sealed
    export = client_export(alice.user.pk)
    manifest = export.manifest
    assert {file["path"] for file in manifest["files"]} == set(export.files) - {"MANIFEST.json", "MANIFEST.sha256"}
    for file in manifest["files"]:
        content = export.files[file["path"]]
        assert (file["sha256"], file["bytes"]) == (sha256(content).hexdigest(), len(content))
        if file["path"].endswith(".jsonl"):
            assert file["rows"] == content.count(b"\n")
    row = Export.objects.get()
    assert (manifest["export"], manifest["reason"], manifest["subject"]) == (str(row.pk), REASON, str(alice.user.pk))
    assert manifest["number"] == alice.user.number
    assert manifest["period"] == {"from": "2020-01-01T00:00:00.000000Z", "to": "2100-01-01T00:00:00.000000Z"}
    assert manifest["asked_by"]["id"] == str(HOUSE)
    assert manifest["schema"]["exports"].startswith("0001")
    assert manifest["seal"]["id"] == str(seal.pk)
    for wallet in (alice.cash, alice.margin):
        wallet.refresh_from_db()
        head = {"wallet": str(wallet.pk), "number": wallet.number, "version": wallet.version}
        assert {**head, "head": bytes(wallet.head).hex()} in manifest["chain_heads"]
    with zipfile.ZipFile(io.BytesIO(export.data)) as file:
        file.extractall(tmp_path / "unpacked")
    checked = subprocess.run(
        ["sha256sum", "-c", "MANIFEST.sha256"], cwd=tmp_path / "unpacked", check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(export.files) - 1
    assert "sha256sum -c MANIFEST.sha256" in export.files["README.txt"].decode()


def findings(data: bytes, tmp_path: Path) -> list[tuple[str, str]]:
    path = tmp_path / "export.zip"
    path.write_bytes(data)
    return [tuple(flaw) for flaw in checking.examine(path).flaws]  # type: ignore[misc]  # pairs


def repack(files: dict[str, bytes], *more: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in (*files.items(), *more):
            file.writestr(name, content)
    return buffer.getvalue()


def test_an_untouched_zip_has_no_flaw(sealed: tuple[CastMember, Seal], tmp_path: Path) -> None:
    alice, _ = sealed
    export = client_export(alice.user.pk)
    assert findings(export.data, tmp_path) == []
    deposit(alice, "1.00", wallet=alice.margin)
    assert findings(export.data, tmp_path) == [], "a chain may grow"
    assert findings(repack(export.files), tmp_path) == [], "how it is zipped is not what it says"


def forged(files: dict[str, bytes]) -> dict[str, bytes]:
    """The books of a careful forger: the changed file, and every list to match."""
    entries = files["entries.jsonl"].replace(b'"75.00000000"', b'"95.00000000"')
    assert entries != files["entries.jsonl"]
    manifest = json.loads(files["MANIFEST.json"])
    for file in manifest["files"]:
        if file["path"] == "entries.jsonl":
            file["sha256"] = sha256(entries).hexdigest()
    listed = json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"
    digests = {file["path"]: file["sha256"] for file in manifest["files"]}
    sums = packing.checksums({**digests, "MANIFEST.json": sha256(listed).hexdigest()})
    return files | {"entries.jsonl": entries, "MANIFEST.json": listed, "MANIFEST.sha256": sums}


def test_a_tampered_zip_is_found_out(alice: CastMember, tmp_path: Path) -> None:
    files = client_export(alice.user.pk).files
    changed = files["entries.jsonl"].replace(b'"75.00000000"', b'"95.00000000"')
    assert findings(repack(files | {"entries.jsonl": changed}), tmp_path) == [
        ("entries.jsonl", "it is not what the manifest says")
    ]
    longer = findings(repack(files | {"entries.jsonl": files["entries.jsonl"] + b"{}\n"}), tmp_path)
    assert longer == [("entries.jsonl", "it is missing, or not as long as the manifest says")]
    without = {name: content for name, content in files.items() if name != "deals.csv"}
    assert findings(repack(without), tmp_path) == [("deals.csv", "it is missing, or not as long as the manifest says")]
    assert findings(repack(files, ("extra.csv", b"id")), tmp_path) == [("extra.csv", "the manifest does not name it")]
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = repack(files, ("deals.csv", files["deals.csv"]))
    assert findings(twice, tmp_path) == [("deals.csv", "it is there more than once")]
    sums = files | {"MANIFEST.sha256": files["MANIFEST.sha256"].replace(b"0", b"1")}
    assert findings(repack(sums), tmp_path) == [("MANIFEST.sha256", "it is not the manifest's list")]
    assert findings(repack(forged(files)), tmp_path) == [
        ("MANIFEST.json", "it is not the one that the desk has on record")
    ]


def test_an_export_of_another_desk_is_unknown(alice: CastMember, tmp_path: Path) -> None:
    export = client_export(alice.user.pk)
    corrupt("DELETE FROM exports_export")
    assert findings(export.data, tmp_path) == [("MANIFEST.json", "the desk has no such export on record")]


def test_a_ledger_that_was_rewritten_since_is_found_out(sealed: tuple[CastMember, Seal], tmp_path: Path) -> None:
    alice, seal = sealed
    export = client_export(alice.user.pk)
    alice.cash.refresh_from_db()
    corrupt(
        "UPDATE wallets_entry SET digest = sha256(digest) WHERE wallet_id = %s AND wallet_version = %s",
        alice.cash,
        alice.cash.version,
    )
    corrupt("DELETE FROM wallets_seal")
    assert findings(export.data, tmp_path) == [
        (f"wallet {alice.cash.pk}", f"its history up to version {alice.cash.version} was rewritten"),
        (f"seal {seal.pk}", "it is no longer in the database"),
    ]


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all"])
def test_what_is_no_export_is_told(db: None, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(checking.NotAnExport):
        findings(data, tmp_path)
    with pytest.raises(checking.NotAnExport):
        findings(repack({"MANIFEST.json": data}), tmp_path)
    with pytest.raises(checking.NotAnExport):
        findings(repack({"MANIFEST.json": b'{"files": [], "chain_heads": {}, "export": 1, "format": 2}'}), tmp_path)


# --- On record ------------------------------------------------------------------------------------------------------


def test_who_asked_and_what_came_of_it_are_on_record(alice: CastMember) -> None:
    carol = cast.carol_staff()
    export = exports.ask_for_client(client=alice.user.pk, period=AGES, reason=REASON, actor=carol.actor)
    made = unpack(b"".join(packing.pack(export, actor=carol.actor)))
    row = Export.objects.get()
    digest = sha256(made.files["MANIFEST.json"]).digest()
    assert (row.owner, row.asked_by, row.reason) == (alice.user, carol.user, REASON)
    assert bytes(row.manifest_digest or b"") == digest
    assert row.rows == sum(len(made.rows(table.name)) for table in tables.tables(Scope(AGES, client=alice.user.pk)))
    events = AuditEvent.objects.filter(owner=alice.user.pk, action__startswith="config.export").order_by("pk")
    assert [(event.action, event.actor_id, event.reason) for event in events] == [
        ("config.export.asked", carol.user.pk, REASON),
        ("config.export.made", carol.user.pk, REASON),
    ]
    after = events[1].after or {}
    assert (after["manifest_digest"], after["subject"]) == (digest.hex(), str(alice.user.pk))
    with pytest.raises(exports.ExportIsMade):
        exports.finish_export(export_id=row.pk, rows=0, manifest_digest=bytes(32), actor=carol.actor)


def test_what_cannot_be_exported_leaves_no_row(db: None) -> None:
    client, staff = cast.make_client(), cast.carol_staff()
    for subject, reason, refusal in (
        (client.user.pk, " ", ReasonRequired),
        (client.user.pk, "x" * 501, ReasonRequired),
        (uuid7(), REASON, NotFound),
        (staff.user.pk, REASON, NotFound),
        (HOUSE, REASON, NotFound),
    ):
        with pytest.raises(refusal):
            exports.ask_for_client(client=subject, period=AGES, reason=reason, actor=DESK)
    with pytest.raises(NotFound):
        exports.ask_for_instrument(symbol="NOSUCH", period=AGES, reason=REASON, actor=DESK)
    with pytest.raises(ReasonRequired):
        exports.ask_for_instrument(symbol="EURUSD", period=AGES, reason="", actor=DESK)
    assert not Export.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="config.export").exists()


# --- The pages ------------------------------------------------------------------------------------------------------

TERMS = {"from": "2026-01-01", "to": "2100-01-01", "reason": REASON}


def export_page(client: CastMember) -> str:
    return reverse("admin:export_client", args=[client.user.pk])


@pytest.mark.parametrize("role", ["kyc", "finance", "auditor"])
def test_whoever_may_export_gets_a_zip(db: None, role: str, tmp_path: Path) -> None:
    client, staff = cast.make_client(), office(role)
    page = staff.get(export_page(client))
    assert (page.status_code, Export.objects.count()) == (200, 0)
    response: Any = staff.post(export_page(client), TERMS)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/zip")
    assert response.streaming
    name = f"export-{client.user.pk}-20260101-21000101.zip"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    data = response.getvalue()
    assert findings(data, tmp_path) == []
    assert [row["id"] for row in unpack(data).rows("wallets")] == sorted([str(client.cash.pk), str(client.margin.pk)])
    row = Export.objects.get()
    assert (row.asked_by.email, row.period_from) == (f"{role}@desk.example", datetime(2026, 1, 1, tzinfo=UTC))
    listing = staff.get(reverse("admin:exports_export_changelist"))
    assert str(client.user.pk) in listing.content.decode()
    detail = staff.get(reverse("admin:exports_export_change", args=[row.pk]))
    assert bytes(row.manifest_digest or b"").hex() in detail.content.decode()


def test_an_instrument_is_exported_from_its_page(market: Push) -> None:
    staff = office("auditor")
    page = staff.get(reverse("admin:export_instrument"))
    assert "EURUSD" in page.content.decode()
    response: Any = staff.post(reverse("admin:export_instrument"), {**TERMS, "symbol": "EURUSD"})
    assert unpack(response.getvalue()).manifest["subject"] == "EURUSD"
    assert Export.objects.get().owner_id == HOUSE


@pytest.mark.parametrize(
    "change,said",
    [
        ({"reason": ""}, "This field is required"),
        ({"reason": "   "}, "This field is required"),
        ({"to": "2026-01-01"}, "A period ends after it begins"),
        ({"from": "yesterday"}, "Enter a valid date"),
        ({"reason": "x" * 501}, "at most 500"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_written(db: None, change: dict[str, str], said: str) -> None:
    client = cast.make_client()
    response = office("kyc").post(export_page(client), TERMS | change)
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not Export.objects.exists()


@pytest.mark.parametrize("role", ["support", "dealing", "admin"])
def test_others_are_refused_and_nothing_is_written(db: None, role: str) -> None:
    client, staff = cast.make_client(), office(role)
    for path in (export_page(client), reverse("admin:export_instrument")):
        assert staff.get(path).status_code == 403
        assert staff.post(path, {**TERMS, "symbol": "EURUSD"}).status_code == 403
    assert not Export.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="config.export").exists()


def test_whoever_sees_masked_data_cannot_export_it(db: None) -> None:
    client, user = cast.make_client(), enlist("support")
    with database.as_owner():
        user.user_permissions.add(Permission.objects.get(codename="add_export"))
    staff, _ = log_in(user)
    assert staff.post(export_page(client), TERMS).status_code == 403
    assert staff.post(reverse("admin:export_instrument"), {**TERMS, "symbol": "EURUSD"}).status_code == 403
    assert not Export.objects.exists()


def test_nobody_exports_what_is_no_client(db: None) -> None:
    staff, colleague = office("auditor"), enlist("kyc")
    for owner in (uuid7(), colleague.pk):
        path = reverse("admin:export_client", args=[owner])
        assert staff.post(path, TERMS).status_code == 404
    assert not Export.objects.exists()


def test_without_a_session_there_is_only_the_door(client: Any, db: None) -> None:
    alice = cast.make_client()
    assert client.post(export_page(alice), TERMS).status_code == 302
    assert not Export.objects.exists()


# --- The commands ---------------------------------------------------------------------------------------------------


def run(command: str, *arguments: object) -> dict[str, Any]:
    out = io.StringIO()
    call_command(command, *map(str, arguments), "--json", stdout=out, stderr=io.StringIO())
    counts: dict[str, Any] = json.loads(out.getvalue())
    return counts


WHEN = ("--from", "2026-01-01", "--to", "2100-01-01T00:00:00+00:00", "--reason", REASON)


def names_of(who: CastMember) -> Iterator[str]:
    yield from (str(who.user.number), str(who.user.pk), who.user.email.upper(), who.account.number, who.cash.number)


def test_the_command_writes_a_file_that_checks_out(alice: CastMember, tmp_path: Path) -> None:
    for index, name in enumerate(names_of(alice)):
        path = tmp_path / f"{index}.zip"
        counts = run("export_client", "--client", name, *WHEN, "--output", path)
        made = unpack(path.read_bytes())
        assert made.manifest["subject"] == str(alice.user.pk)
        assert counts["manifest_digest"] == sha256(made.files["MANIFEST.json"]).hexdigest()
        assert counts["rows"] == Export.objects.latest("pk").rows
        assert path.stat().st_mode & 0o777 == 0o600
        assert run("check_export", path)["flaws"] == 0
    path.write_bytes(repack(made.files | {"deals.csv": b"id"}))
    with pytest.raises(CommandError, match="1 flaws"):
        run("check_export", path)


def test_the_command_exports_an_instrument(alice: CastMember, tmp_path: Path) -> None:
    path = tmp_path / "eurusd.zip"
    run("export_instrument", "--instrument", "EURUSD", *WHEN, "--output", path)
    assert len(unpack(path.read_bytes()).rows("deals")) == 2
    assert run("check_export", path)["wallets"] == 1


def test_the_command_overwrites_nothing_and_refuses_with_a_sentence(alice: CastMember, tmp_path: Path) -> None:
    path = tmp_path / "there.zip"
    path.write_text("mine")
    for name, output, said in (
        (alice.account.number, path, "exists already"),
        ("nobody@example.com", tmp_path / "new.zip", "no such resource"),
        ("W999", tmp_path / "new.zip", "no such resource"),
    ):
        with pytest.raises(CommandError, match=said):
            run("export_client", "--client", name, *WHEN, "--output", output)
    blank = [*WHEN[:-1], " "]
    with pytest.raises(CommandError, match="Say why"):
        run("export_client", "--client", alice.account.number, *blank, "--output", tmp_path / "new.zip")
    assert path.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["there.zip"]
    assert not Export.objects.exists()


# --- Over a real socket ---------------------------------------------------------------------------------------------


def sign_in(desk: LiveDesk, role: str) -> BackOffice:
    key = os.urandom(20)
    user = enlist(role, email=f"{uuid7()}@desk.example", key=key)
    back_office = BackOffice(f"{desk.url}/admin")
    back_office.log_in(email=user.email, password=cast.PASSWORD, totp_secret=base64.b32encode(key).decode())
    return back_office


def download(back_office: BackOffice, path: str) -> Any:
    """The answer to the export's form, still unread."""
    url = f"{back_office.url}{path}"
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', back_office._open(path))
    assert token is not None
    form = urllib.parse.urlencode({**TERMS, "csrfmiddlewaretoken": token[1]}).encode()
    return back_office._opener.open(urllib.request.Request(url, form, {"Referer": url}), timeout=60)


def open_snapshots() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def wait_until_no_snapshot_is_open() -> None:
    """The server ends its transaction a moment after the last byte has left."""
    deadline = time.monotonic() + 20
    while open_snapshots() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_snapshots() == 0


def test_it_leaves_piece_by_piece_and_a_reader_who_goes_takes_the_snapshot_along(
    committed_db: object, live_desk: LiveDesk, tmp_path: Path
) -> None:
    client = cast.make_client()
    fill_audit(client, 30_000)
    staff = sign_in(live_desk, "auditor")
    with download(staff, f"/clients/{client.user.pk}/export/") as answer:
        assert answer.headers["Content-Length"] is None
        assert answer.read(100_000)[:2] == b"PK"
        assert open_snapshots() == 1
    wait_until_no_snapshot_is_open()
    assert Export.objects.get().made_at is None
    with download(staff, f"/clients/{client.user.pk}/export/") as answer:
        data = answer.read()
    assert findings(data, tmp_path) == []
    assert Export.objects.latest("pk").made_at is not None
    wait_until_no_snapshot_is_open()
