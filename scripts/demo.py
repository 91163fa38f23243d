"""
One client's day against the running desk, over REST, told with its real figures.

She signs up, deposits, is verified by a member of staff, buys EURUSD at a replayed real price, sells it at another,
reads the explanation, takes her money out, and every figure is added up again at the end.
"""

from __future__ import annotations

import json
import secrets
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from scripts import environment
from scripts.back_office import BackOffice, BackOfficeError

CAST = environment.VAR / "demo.json"
PRICE_SECONDS_MAX = 60
WIDTH = 100


class DemoError(Exception):
    """The story cannot go on; the message says where and why."""


@dataclass
class Client:
    """An app with a token: it makes a key for every intent, and every answer is read as JSON."""

    api: str
    token: str | None = None
    calls: int = field(default=0)

    def get(self, path: str) -> Any:
        return self._call("GET", path)[0]

    def post(self, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> Any:
        return self._call("POST", path, body or {}, key or str(uuid.uuid4()))[0]

    def replayed(self, path: str, body: dict[str, Any], *, key: str) -> bool:
        """Whether the server says that this answer is an old one."""
        return bool(self._call("POST", path, body, key)[1].get("Idempotent-Replayed") == "true")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, key: str = "") -> tuple[Any, Any]:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api}{path}", data, headers, method=method)
        self.calls += 1
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer), answer.headers
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read() or b"{}")
            raise DemoError(f"{method} {path} was refused: {problem.get('code')}: {problem.get('detail')}") from error
        except urllib.error.URLError as error:
            raise DemoError(f"nobody answers at {self.api}: start `make run` in another terminal") from error


def main() -> int:
    try:
        Story(json.loads(CAST.read_text())).tell()
    except FileNotFoundError:
        print("There is no var/demo.json yet: start `make run` in another terminal", file=sys.stderr)
        return 1
    except (DemoError, BackOfficeError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


class Story:
    """The chapters, in order; each checks the figures it tells."""

    def __init__(self, cast: dict[str, Any]) -> None:
        self.cast = cast
        self.client = Client(cast["api_url"])
        self.email = f"dana.{secrets.token_hex(4)}@example.com"

    def tell(self) -> None:
        self.sign_up()
        self.deposit()
        self.get_verified()
        self.fund_trading()
        self.open_position()
        self.close_position()
        self.explain()
        self.withdraw()
        self.add_up()

    def sign_up(self) -> None:
        chapter("Dana signs up for a live account")
        password = secrets.token_urlsafe(16)
        answer = self.client.post(
            "/signup/live",
            {
                "email": self.email,
                "password": password,
                "name": "Dana Novak",
                "phone": f"+4930{secrets.randbelow(90_000_000) + 10_000_000}",
                "country": "DE",
                "date_of_birth": "1990-05-17",
                "address": {"line1": "Torstr. 1", "city": "Berlin", "postal_code": "10119", "country": "DE"},
                "bank": {
                    "holder": "Dana Novak",
                    "bank_name": "Commerzbank",
                    "code_type": "IBAN",
                    "number": "DE89370400440532013000",
                },
            },
        )
        wallets = {wallet["kind"]: wallet["number"] for wallet in answer["wallets"]}
        self.cash, self.margin = wallets["CASH"], wallets["MARGIN"]
        self.account = answer["trading_account"]["number"]
        self.client.token = self.client.post("/auth/token", {"email": self.email, "password": password})["token"]
        say(f"{self.email}: cash wallet {self.cash}, trading account {self.account} with margin wallet {self.margin}.")

    def deposit(self) -> None:
        chapter("She deposits 2,000.00 USD, and her phone sends the request twice")
        key, body = str(uuid.uuid4()), {"wallet": self.cash, "amount": "2000.00"}
        deposit = self.client.post("/deposits", body, key=key)
        must(self.client.replayed("/deposits", body, key=key), "the second sending is answered from the key")
        must(len(self.client.get("/deposits")["results"]) == 1, "there is one deposit")
        balance = self.wallet(self.cash)["balance"]
        must(balance == "2000.00", "it was credited once")
        say(f"Deposit {deposit['status']}; the repeat got the same answer, and the balance is {balance} USD, not 4000.")

    def get_verified(self) -> None:
        chapter("Compliance looks at her documents")
        self.client.post("/me/verification", {"documents": [{"kind": "PASSPORT", "reference": "C01X00T47"}]})
        staff = {member["role"]: member for member in self.cast["staff"]}["kyc"]
        office = BackOffice(self.cast["admin_url"])
        office.log_in(email=staff["email"], password=staff["password"], totp_secret=staff["totp_secret"])
        status = self.approve(office)
        must(status == "APPROVED", "she is verified")
        say(f"{staff['email']} signed in with a second factor, reviewed and approved. Dana's status: {status}.")

    def approve(self, office: BackOffice) -> str:
        verification = self.client.get("/me/verification")
        for action in ("start_review", "approve"):
            office.act("/accounts/verification/", action, verification["id"], reason="Passport seen")
        return str(self.client.get("/me/verification")["status"])

    def fund_trading(self) -> None:
        chapter("She moves 1,500.00 USD to her trading account")
        self.client.post("/transfers", {"source": self.cash, "target": self.margin, "amount": "1500.00"})
        state = self.state()
        must((state["balance"], state["held"]) == ("1500.00", "0.00"), "the money arrived and nothing is held")
        say(f"Balance {state['balance']}, equity {state['equity']}, free margin {state['free_margin']} USD.")

    def open_position(self) -> None:
        chapter("She buys 0.20 lots of EURUSD")
        order = {"account": self.account, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.20"}
        quote = self.quote()
        preview = self.client.post("/orders/preview", order)
        if preview["would_reject"]:
            raise DemoError(f"the order would be rejected: {preview['would_reject'][0]['detail']}")
        self.opened = self.client.post("/orders", order)
        say(
            f"The price is {quote['bid']} / {quote['ask']} ({quote['source']} of {quote['time'][:10]})."
            f" The preview said margin {preview['required_margin']}, commission {preview['commission']},"
            f" stop-out near {preview['stop_out_price']}."
            f" Filled at {self.opened['price_filled']}: {self.opened['held']} USD held,"
            f" {self.opened['free_margin']} free."
        )

    def close_position(self) -> None:
        chapter("The market moves, and she closes")
        opened_at = self.quote()
        deadline = time.monotonic() + PRICE_SECONDS_MAX
        while self.quote()["bid"] == opened_at["bid"]:
            if time.monotonic() > deadline:
                raise DemoError("the price does not move: is the server running with FEED=off?")
            time.sleep(0.25)
        floating = self.state()["floating"]
        self.closed = self.client.post(f"/positions/{self.opened['position']['id']}/close", {"volume": "ALL"})
        earned = (Decimal(self.closed["price"]) - Decimal(self.opened["price_filled"])) * 100_000 * Decimal("0.20")
        must(Decimal(self.closed["profit"]) == earned.quantize(Decimal("0.01")), "the profit is price times size")
        must(self.closed["held"] == "0.00", "nothing is held any more")
        say(
            f"Floating was {floating}; closed at {self.closed['price']}: profit {self.closed['profit']},"
            f" commission {self.closed['commission']}, balance {self.closed['balance']} USD, margin all released."
        )

    def explain(self) -> None:
        chapter("She asks how that came about")
        document = self.client.get(f"/deals/{self.closed['deal']}/explain")
        must(document["agrees"], "the recomputed figures are the booked ones")
        for section in document["sections"]:
            for line in section["lines"]:
                print(f"      {line['label']}: {line['formula']} = {line['value']}")

    def withdraw(self) -> None:
        chapter("She takes her money out")
        rest = self.state()["free_margin"]
        self.client.post(f"/trading-accounts/{self.account}/release", {"amount": rest, "target": self.cash})
        amount = self.wallet(self.cash)["available"]
        withdrawal = self.client.post("/withdrawals", {"wallet": self.cash, "amount": amount})
        after = self.wallet(self.cash)
        must((after["held"], after["available"]) == (amount, "0.00"), "the whole amount is held")
        say(f"{rest} USD released, withdrawal of {amount} USD is {withdrawal['status']}: held until staff approve it.")

    def add_up(self) -> None:
        chapter("And it all adds up")
        paid_in = Decimal("2000.00")
        profit, costs = Decimal(self.closed["profit"]), Decimal(self.opened["commission"])
        costs += Decimal(self.closed["commission"])
        has = Decimal(self.wallet(self.cash)["balance"]) + Decimal(self.wallet(self.margin)["balance"])
        must(has == paid_in + profit - costs, "what she has is what she paid in, plus profit, less commission")
        entries = self.entries(self.cash) + self.entries(self.margin)
        must(sum(Decimal(entry["amount"]) for entry in entries) == has, "her statement's entries sum to her balances")
        say(
            f"{paid_in} deposited {profit:+} profit {-costs:+} commission = {has} USD,"
            f" in {len(entries)} ledger entries, over {self.client.calls} requests."
            " `make verify` checks every other figure."
        )

    def wallet(self, number: str) -> Any:
        return self.client.get(f"/wallets/{number}")

    def entries(self, number: str) -> list[Any]:
        return list(self.client.get(f"/wallets/{number}/entries")["results"])

    def state(self) -> Any:
        return self.client.get(f"/trading-accounts/{self.account}")

    def quote(self) -> Any:
        quote = self.client.get("/instruments/EURUSD")["quote"]
        if quote is None or not quote["is_fresh"]:
            raise DemoError("EURUSD has no fresh price: is the server running with FEED=off?")
        return quote


def chapter(title: str) -> None:
    print(f"\n  {title}")


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    "))


def must(holds: bool, claim: str) -> None:
    if not holds:
        raise DemoError(f"a figure is wrong, it should be that {claim}")


if __name__ == "__main__":
    sys.exit(main())
