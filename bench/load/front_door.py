"""The desk as an installation has it: gunicorn on a unix socket, and `deploy/nginx.conf`, unchanged, in front of it."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import processes, systems
from bench.load.systems import START_SECONDS_MAX, Server, System
from scripts import environment, nginx

DEPLOY = environment.ROOT / "deploy"
#: Connections to the desk, files and pipes: what a process of nginx needs beside its clients.
CONNECTIONS_SPARE = 1_000
WORKERS = 2
#: nginx's own process and the kernel spread clients by chance; none has much more than its share.
UNEVENNESS = 1.1


@dataclass(slots=True)
class Door(System):
    """`web` is the pid of gunicorn, `proxy` that of nginx; then what the desk was told."""

    proxy: int = 0
    settings: dict[str, str] = field(default_factory=dict)

    def _families(self) -> dict[str, list[int]]:
        return System._families(self) | {"proxy": processes.family(self.proxy)}  # noqa: SLF001 - a dataclass with slots has no super()


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine's variant of the configuration lets through."""

    clients: int = 1_000
    under_way: int = 60_000  # per address
    per_second: int = 100_000  # per address; all the load comes from a handful
    burst: int = 60_000


@contextmanager
def open_to(
    server: Server,
    template: str,
    *,
    log: Path,
    limits: Limits | None = None,
    workers: int = systems.WEB_WORKERS,
    threads: int = systems.WEB_THREADS,
    settings: Mapping[str, str] | None = None,
    checks: Sequence[str] = systems.VERIFY,
) -> Iterator[Door]:
    """The desk on a fresh copy of the template, with its front door; `settings` are what it has beside the usual."""
    with tempfile.TemporaryDirectory(prefix="desk-door-") as scratch:
        socket = Path(scratch) / "desk.sock"
        own = {"WEB_WORKERS": str(workers), "WEB_THREADS": str(threads), **(settings or {})}
        with (
            systems.fresh_desk(server, template, checks=checks) as installation,
            systems.gunicorn(installation | own | behind(socket), log) as web,
            serving(socket, Path(scratch), limits or Limits(), log) as (port, proxy),
        ):
            processes.wait_for(lambda: systems.answers(port, "/health/live"), START_SECONDS_MAX, "the desk")
            database = systems.run_name(template)
            yield Door("desk", port, web, server.pid, database, proxy=proxy, settings=installation | own)


def behind(socket: Path) -> dict[str, str]:
    """How the desk is set up behind nginx."""
    return {"BIND": f"unix:{socket}", "TRUST_PROXY_HEADERS": "true"}


@contextmanager
def serving(socket: Path, scratch: Path, limits: Limits, log: Path) -> Iterator[tuple[int, int]]:
    """nginx before this socket: its port on loopback, and its pid."""
    program = nginx.fetch()
    if program is None:
        raise RuntimeError(nginx.MISSING)
    port = systems.free_port()
    command = [program, "-p", str(scratch), "-c", str(write(socket, scratch, limits, port)), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise RuntimeError(f"nginx does not take deploy/nginx.conf:\n{checked.stderr}")
    with processes.running([*command, "-g", "daemon off;"], {}, log) as process:
        yield port, process.pid


def write(socket: Path, scratch: Path, limits: Limits, port: int) -> Path:
    """The installation's configuration with this machine's variant of the files that differ."""
    home = scratch / "conf"
    shutil.copytree(DEPLOY, home)
    for name, text in (
        ("machine", _machine(scratch, limits)),
        ("site", _site(socket, scratch, limits)),
        ("listen", f"listen 127.0.0.1:{port} reuseport backlog=4096;\n"),
    ):
        (home / "desk" / f"{name}.conf").write_text(text)
    return home / "nginx.conf"


def _machine(scratch: Path, limits: Limits) -> str:
    share = int(limits.clients / WORKERS * UNEVENNESS) + CONNECTIONS_SPARE
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lines = [
        f"pid {scratch}/nginx.pid;",
        f"worker_processes {WORKERS};",
        f"worker_rlimit_nofile {descriptors};",
        "error_log stderr warn;",
        f"events {{ worker_connections {min(share, descriptors - 100)}; }}",
    ]
    if os.geteuid() == 0:  # only then may it choose, and only then it can be more urgent than others
        lines += [f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};", "worker_priority -5;"]
    return "\n".join([*lines, ""])


def _site(socket: Path, scratch: Path, limits: Limits) -> str:
    """Every limit is at work here too, with figures that let a crowd from a handful of addresses through."""
    held = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
    return "\n".join(
        [
            f"upstream desk {{ server unix:{socket} max_fails=0; }}",
            "geo $is_internal { default 0; 127.0.0.1/32 1; }",
            "limit_conn_zone $binary_remote_addr zone=under_way:10m;",
            f"limit_req_zone $binary_remote_addr zone=requests:10m rate={limits.per_second}r/s;",
            f"limit_conn under_way {limits.under_way};",
            f"limit_req zone=requests burst={limits.burst} nodelay;",
            "error_log stderr crit;",
            f"access_log {scratch}/answered_here.log answered_here if=$is_answered_here buffer=64k flush=1s;",
            *(f"{name}_temp_path {scratch}/{name};" for name in held),
            "",
        ]
    )
