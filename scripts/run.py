"""
The body of `make run`: a database, the demo's cast, and every process of the Procfile under one supervisor.

HOST and PORT choose the address (127.0.0.1:8000), `FEED=off` leaves out the price feed, DATABASE_URL replaces the
embedded PostgreSQL; with a DATABASE_OWNER_URL beside it, that one is for migrations, and known to nothing that serves.
Nothing outlives this process: each command is on a leash, and the last user of the database stops it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import honcho.manager
from honcho.environ import parse_procfile

from scripts import embedded_postgres, environment, locks, prepare

RUN_LOCK = environment.VAR / "run.lock"  # held while a run lives, and says where it answers
LEASHES_LOCK = environment.VAR / "leashes.lock"  # shared by the leashes of a run
PORT_DEFAULT = 8000
PORTS_TRIED_MAX = 100
LEFTOVERS_SECONDS_MAX = 30.0  # more than a leash gives its command
LIVE_SECONDS_MAX = 2.0  # a killed run's lock is free at once
KILL_SECONDS = 20  # more than a leash's grace; honcho's own 5 s would cut requests off
PR_SET_PDEATHSIG = 1


class RunError(Exception):
    """`make run` can't; the message says why and what to do."""


@dataclass(frozen=True)
class Urls:
    """Where a run answers."""

    api: str
    admin: str
    docs: str
    health: str

    @classmethod
    def at(cls, host: str, port: int) -> Urls:
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        base = f"http://{name}:{port}"
        return cls(f"{base}/api/v1", f"{base}/admin/", f"{base}/api/docs", f"{base}/health/ready")

    def lines(self) -> str:
        return f"  API     {self.api}\n  admin   {self.admin}\n  docs    {self.docs}\n  health  {self.health}"


class Supervisor(honcho.manager.Manager):
    """honcho's, but a signal that comes before every process has started is kept instead of failing."""

    is_asked_to_end = False

    def terminate(self) -> None:
        if super()._all_started():
            super().terminate()
        else:
            self.is_asked_to_end = True

    def _all_started(self) -> bool:
        all_started: bool = super()._all_started()
        if all_started and self.is_asked_to_end:
            self.is_asked_to_end = False
            super().terminate()
        return all_started


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)
    end_with_parent()
    try:
        with ExitStack() as stack:
            become_the_only_run(stack)
            return serve(stack)
    except (RunError, embedded_postgres.EmbeddedPostgresError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 0


def serve(stack: ExitStack) -> int:
    """Get everything ready and run it until it ends or is told to."""
    host, port = choose_address()
    urls = Urls.at(host, port)
    RUN_LOCK.write_text(json.dumps(asdict(urls)))
    environment.install_demo()
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - asked for by HOST; then any of the machine's names may be used
        os.environ["ALLOWED_HOSTS"] = "*"
    os.environ |= {
        "HOST": host,
        "PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "DESK_SUPERVISOR": str(os.getpid()),
        "DESK_LEASHES": str(LEASHES_LOCK),
        "PROMETHEUS_MULTIPROC_DIR": os.environ.get("PROMETHEUS_MULTIPROC_DIR") or fresh_metrics_directory(),
    }
    print("Getting ready", flush=True)
    stack.enter_context(environment.database())
    which = "embedded PostgreSQL" if "DESK_POSTGRES" in os.environ else "DATABASE_URL"
    print(f"  {'database':<14}ready ({which})", flush=True)
    arguments = ["--api-url", urls.api, "--admin-url", urls.admin, "--docs-url", urls.docs]
    if run_on_leash([sys.executable, "-m", "scripts.prepare", *arguments]) != 0:
        raise RunError("getting ready failed; the reason is above")
    print(f"Dealing Desk\n{urls.lines()}")
    print(f"  cast    {show(prepare.DEMO_FILE)} has everyone's password, token and second factor")
    print("  In another terminal: `make demo`. To stop: Ctrl-C", flush=True)
    return supervise()


def supervise() -> int:
    """Run the Procfile. When one process ends, all do."""
    honcho.manager.KILL_WAIT = KILL_SECONDS
    supervisor = Supervisor()
    processes = parse_procfile((environment.ROOT / "Procfile").read_text()).processes
    if os.environ.get("FEED", "on").lower() == "off":
        processes.pop("feed")
    desks = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_OWNER_URL")}
    for name, command in processes.items():
        supervisor.add_process(name, command, env=desks, cwd=str(environment.ROOT))
    supervisor.loop()
    if supervisor.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}:
        raise KeyboardInterrupt
    raise RunError(f"a process ended by itself, with status {supervisor.returncode}, and the others were stopped")


def become_the_only_run(stack: ExitStack) -> None:
    """
    Take the lock of which there is one per checkout, and wait for what a killed run may have left.

    :raises RunError: if another run is live
    """
    handle = locks.open_lock(RUN_LOCK)
    stack.callback(os.close, handle)
    if not locks.lock(handle, locks.EXCLUSIVE, seconds=LIVE_SECONDS_MAX):
        where = ""
        text = RUN_LOCK.read_text()
        if text:
            where = f":\n{Urls(**json.loads(text)).lines()}"
        raise RunError(f"`make run` is running already{where}")
    os.truncate(RUN_LOCK, 0)
    os.register_at_fork(after_in_child=lambda: os.close(handle))  # the supervisor's helpers are not the run
    with locks.held(LEASHES_LOCK, locks.EXCLUSIVE) as are_gone:
        if are_gone:
            return
    print("Waiting for the processes of a killed run to end", flush=True)
    with locks.held(LEASHES_LOCK, locks.EXCLUSIVE, seconds=LEFTOVERS_SECONDS_MAX) as are_gone:
        if not are_gone:
            raise RunError("the processes of a killed run do not end")


def choose_address() -> tuple[str, int]:
    """
    The address to listen on: what HOST and PORT say; without PORT, the first free one from 8000 on.

    :raises RunError: if PORT is taken or makes no sense
    """
    host = os.environ.get("HOST") or "127.0.0.1"
    chosen = os.environ.get("PORT")
    if chosen:
        if not chosen.isdigit() or not 0 < int(chosen) < 65_536:
            raise RunError(f"PORT={chosen} is not a port number")
        if not is_free(host, int(chosen)):
            raise RunError(f"port {chosen} on {host} is in use: choose another PORT, or none to take the next free one")
        return host, int(chosen)
    for port in range(PORT_DEFAULT, PORT_DEFAULT + PORTS_TRIED_MAX):
        if is_free(host, port):
            if port != PORT_DEFAULT:
                print(f"Port {PORT_DEFAULT} is in use, so this run takes {port}", flush=True)
            return host, port
    raise RunError(f"no port from {PORT_DEFAULT} on is free: choose one with PORT")


def is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind(address)
    except socket.gaierror as error:
        raise RunError(f"HOST={host} is not an address of this machine: {error}") from error
    except PermissionError:
        raise RunError(f"port {port} is reserved for root: choose another PORT") from None
    except OSError:
        return False
    return True


def run_on_leash(command: list[str]) -> int:
    """Run a command that ends with this process, and is given time to end when this one is interrupted."""
    leash = subprocess.Popen([sys.executable, "-m", "scripts.leash", "--", *command], start_new_session=True)
    try:
        return leash.wait()
    except KeyboardInterrupt:
        leash.terminate()
        leash.wait()
        raise


def fresh_metrics_directory() -> str:
    """Where the processes of one run add up their metrics; the last run's are forgotten."""
    directory = environment.VAR / "metrics"
    directory.mkdir(exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()
    return str(directory)


def end_with_parent() -> None:
    """Where `make` started this, Linux tells us with SIGTERM should make be killed."""
    if sys.platform == "linux" and os.environ.get("DESK_FOLLOW_PARENT"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def show(path: Path) -> str:
    return str(path.relative_to(environment.ROOT)) if path.is_relative_to(environment.ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
