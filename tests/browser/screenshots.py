"""
Photographs of the back office's main pages, on a desk on which something has happened.

    python -m tests.browser.screenshots [--output docs/screenshots]

The demo's cast and a few more clients deposit, trade at replayed real prices and ask for their money; the commands that
run at night have run. What is to be seen is made by the same services as everywhere; nothing is drawn for the picture.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import tempfile
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import throwaway
from scripts import chromium, environment
from tests.live_desk import LiveDesk

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = environment.ROOT / "docs" / "screenshots"
BYTES_MAX = 300_000
BATCHES = 60
SEED = 5
NEWCOMERS = (
    ("Erin Evans", "GB"),
    ("Femi Okafor", "ZA"),
    ("Gia Rossi", "IT"),
    ("Hugo Silva", "BR"),
    ("Ines Costa", "ES"),
)
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "BTCUSD", "ETHUSD")
#: The first two clients who ask for their money share an account: what an alert is about.
IBANS = ("DE89370400440532013000", "DE89370400440532013000", "GB29NWBK60161331926819", "GB29NWBK60161331926819")
#: What an installation runs at night, as far as this one has it.
NIGHTLY = (
    "run_risk",
    "accrue_commissions",
    "fold_house",
    "seal_ledger",
    "verify_ledger",
    "verify_positions",
    "load_alert_rules",
    "raise_alerts",
    "reconcile",
    "compute_figures",
)


class Shot(NamedTuple):
    """A picture: its file, what it shows, who looks, and where."""

    file: str
    shows: str
    role: str
    path: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=(__doc__ or "")[:70])
    parser.add_argument("--output", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="desk-shots-") as scratch, ExitStack() as stack:
        metrics = Path(scratch) / "metrics"  # the server's as well: the dashboards tell what it measured
        metrics.mkdir()
        environment.install({"PROMETHEUS_MULTIPROC_DIR": str(metrics)})
        made = stack.enter_context(throwaway.desk("screenshots"))
        environment.install(
            {
                "ALLOWED_HOSTS": "testserver,127.0.0.1",
                "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
                "DJANGO_ALLOW_ASYNC_UNSAFE": "1",  # playwright's event loop runs in the thread that asks the database
            }
        )
        staff = happen(Path(scratch))
        with LiveDesk.serve(made.desks_url, Path(scratch)) as desk:
            complaints = photograph(desk, staff, shots(), chosen.output)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


# --- What happens ---------------------------------------------------------------------------------------------------


def happen(scratch: Path) -> dict[str, dict[str, str]]:
    """A day on the desk; the staff's log-ins by role."""
    from django.core.management import call_command, get_commands

    for command in ("load_instruments", "load_plans", "load_bonus_policies"):
        call_command(command, verbosity=0, stdout=StringIO())
    cast_file = scratch / "demo.json"
    call_command("demo_cast", output=str(cast_file), verbosity=0, stdout=StringIO())
    cast = json.loads(cast_file.read_text())
    trade(random.Random(SEED))
    ask_for_money()
    for command in NIGHTLY:
        if command in get_commands():
            print(f"  {command}", flush=True)
            call_command(command, verbosity=0, stdout=StringIO())
    return {member["role"]: member for member in cast["staff"]}


def trade(rng: random.Random) -> None:
    """Clients open and close positions while prices go by."""
    from django.utils import timezone

    from accounts.models import User
    from tests.cast import make_client
    from tests.trading.calls import close, place
    from tests.wallets.calls import deposit, transfer
    from trading.feeds import ReplayFeed
    from trading.models import Instrument
    from trading.services import quotes

    feed = ReplayFeed(instruments=Instrument.objects.in_bulk(), start=datetime(2021, 5, 19, 9, tzinfo=UTC), loop=False)
    batches = feed.batches()
    alice = User.objects.with_email("alice@example.com").get()
    clients = [
        make_client(
            name=name,
            email=f"{name.split()[0].lower()}@example.com",
            country=country,
            balance=Decimal(0),
            referred_by=alice,
        )
        for name, country in NEWCOMERS
    ]
    for client in clients:
        amount = rng.choice(["3000.00", "9500.00", "24000.00"])
        assert deposit(client, amount).status_code == 201
        assert transfer(client, client.margin, str(Decimal(amount) / 2)).status_code == 201
    opened: list[tuple[Any, str]] = []
    for _ in range(BATCHES):
        quotes.record_quotes(quotes=next(batches), source=feed.source, now=timezone.now(), rewinds=True)
        client = rng.choice(clients)
        volume = rng.choice(["0.01", "0.05", "0.10"])
        answer = place(client, symbol=rng.choice(SYMBOLS), side=rng.choice(["BUY", "SELL"]), volume=volume).json()
        if answer.get("position"):
            opened.append((client, answer["position"]["id"]))
        if len(opened) > len(clients) * 2:
            client, position = opened.pop(0)
            close(client, position, volume="ALL")


def ask_for_money() -> None:
    """Withdrawals of every size, and documents that wait to be seen."""
    from django.db import transaction
    from django.utils import timezone

    from accounts.models import User, Verification
    from core.audit import Actor, ActorKind
    from core.idempotency import Claim
    from core.ids import uuid7
    from wallets import bank
    from wallets.models import Wallet
    from wallets.services import withdrawals

    for share, iban, cash in zip(
        (Decimal("0.9"), Decimal("0.1"), Decimal("0.5"), Decimal("0.05")),
        IBANS,
        Wallet.objects.filter(kind="CASH", environment="LIVE", balance__gt=1000).order_by("-balance"),
        strict=False,
    ):
        owner = User.objects.get(pk=cash.owner_id)
        if not owner.bank_accounts.exists():
            with transaction.atomic():
                bank.store_bank_account(
                    owner=owner.pk, holder=owner.name, bank_name="Commerzbank", branch="", code_type="IBAN", code="",
                    number=iban,
                )  # fmt: skip
        amount = (cash.balance * share).quantize(Decimal("0.01"))
        withdrawals.request_withdrawal(
            wallet=cash.number,
            amount=amount,
            bank_account=None,
            claim=Claim.make(
                operation=withdrawals.REQUEST_WITHDRAWAL,
                owner=owner.pk,
                key=str(uuid7()),
                request={"amount": str(amount)},
                request_id="screenshots",
            ),
            actor=Actor(owner.pk, ActorKind.CLIENT),
        )
    for user in User.objects.filter(is_staff=False, verifications__isnull=True).exclude(email__startswith="house"):
        Verification.objects.create(
            owner=user,
            status=Verification.Status.SUBMITTED,
            documents=[{"kind": "PASSPORT", "reference": "C01X00T47"}],
            submitted_at=timezone.now(),
        )


# --- Pictures -------------------------------------------------------------------------------------------------------


def shots() -> list[Shot]:
    """The ten main pages, each for somebody whose work it is."""
    from django.urls import reverse

    from accounts.models import User
    from trading.models import Order
    from wallets.models import LedgerTransaction, Withdrawal

    client = User.objects.with_email("erin@example.com").get()
    large = Withdrawal.objects.order_by("-amount")[0]
    posted = LedgerTransaction.objects.filter(type="CLOSE").latest("pk")
    order = Order.objects.filter(status="FILLED").latest("pk")

    def at(name: str, *path: Any) -> str:
        return reverse(f"admin:{name}", args=path)

    return [
        Shot("overview", "What a member of staff sees first", "auditor", at("index")),
        Shot("money", "Sign-ups, deposits, withdrawals and profit", "finance", at("dashboards_money")),
        Shot("risk", "Exposure per instrument and margin levels", "dealing", at("dashboards_risk")),
        Shot("client", "Everything about one person", "kyc", at("client", client.pk)),
        Shot("withdrawals", "The queue of withdrawals, oldest first", "finance", at("withdrawal_queue")),
        Shot("withdrawal", "One withdrawal, and what speaks against it", "finance", at("withdrawal", large.pk)),
        Shot("transaction", "Both sides of one transaction", "auditor", at("ledger-transaction", posted.pk)),
        Shot("order", "An order and what became of it", "auditor", at("order", order.pk)),
        Shot("alerts", "What the rules have found", "kyc", at("alerts_alert_changelist")),
        Shot("jobs", "What commands did last, and what is overdue", "auditor", at("jobs")),
    ]


def photograph(desk: LiveDesk, staff: dict[str, dict[str, str]], pages: list[Shot], folder: Path) -> list[str]:
    """Write a picture of each page and the list of them; what the browser had to complain about."""
    folder.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    with windows(desk) as window:
        for shot in pages:
            visit = window(staff[shot.role])
            visit.open(shot.path)
            visit.page.wait_for_load_state("networkidle")
            file = folder / f"{shot.file}.png"
            visit.page.screenshot(path=file, animations="disabled")
            size = file.stat().st_size
            print(f"  {file.name:<18} {size // 1000:4} kB  {shot.shows}", flush=True)
            if size > BYTES_MAX:
                complaints.append(f"{file.name} has {size} bytes")
            complaints += visit.complaints
            visit.complaints.clear()
    lines = [f"![{shot.shows}]({shot.file}.png)\n\n{shot.shows}, as `{shot.role}` sees it.\n" for shot in pages]
    preface = "# The back office\n\nMade by `make screenshots`, on a desk of its own with the demo's cast.\n"
    (folder / "README.md").write_text("\n".join([preface, *lines]))
    return complaints


@contextmanager
def windows(desk: LiveDesk) -> Iterator[Any]:
    """Opens a signed-in window for each member of staff, once."""
    from playwright.sync_api import sync_playwright

    from tests.browser.visit import WINDOW, Visit

    opened: dict[str, Visit] = {}
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=chromium.find(), args=list(chromium.FLAGS))

        def window(member: dict[str, str]) -> Visit:
            if member["role"] not in opened:
                visit = Visit(desk.url, browser.new_context(viewport=WINDOW).new_page())
                key = base64.b32decode(member["totp_secret"])
                visit.log_in(member["email"], member["password"], key)
                assert "/login/" not in visit.page.url, visit.text()
                opened[member["role"]] = visit
            return opened[member["role"]]

        yield window
        browser.close()


if __name__ == "__main__":
    os.chdir(environment.ROOT)
    raise SystemExit(main())
