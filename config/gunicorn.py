"""
How gunicorn serves: a few processes with a few threads each, and never more database connections than there are.

A thread keeps one connection, so workers × threads is what the web takes of DATABASE_CONNECTIONS_MAX; what is set aside
for the feed, for commands and for whoever investigates at night is DATABASE_CONNECTIONS_RESERVED.

On a unix socket (BIND=unix:/run/desk/gunicorn.sock) a proxy stands in front, as `deploy/nginx.conf` has it. Then each
thread takes its requests itself (`config/accepting.py`), and no worker takes in more than its threads can serve: what
waits, waits in the socket's backlog, in order and for whichever thread is free first, and what finds the backlog full
is told so by the kernel at once.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import environ
from prometheus_client import multiprocess

from core.logging import as_dict

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

env = environ.Env()

host = env.str("HOST", default="127.0.0.1")
bind = env.str("BIND", default="") or f"{f'[{host}]' if ':' in host else host}:{env.int('PORT', default=8000)}"
is_behind_proxy = bind.startswith("unix:")
worker_class = "config.accepting.AcceptingThreads" if is_behind_proxy else "gthread"
workers = env.int("WEB_WORKERS", default=max(2, min(4, os.cpu_count() or 2)))
threads = env.int("WEB_THREADS", default=8)
# A process runs Python on one processor at a time, and its threads hand that right from one processor to the other,
# with cold caches each time. Where the machine is ours, each process keeps to one; where others use the same machine
# they might have chosen the same one, so it has to be asked for.
pins_processors = env.bool("WEB_PIN_PROCESSORS", default=False) and hasattr(os, "sched_setaffinity")
preload_app = False  # connections must not be opened before the fork

graceful_timeout = env.int("REQUEST_DEADLINE_SECONDS", default=30) + 5  # longer than any request may take
timeout = 60  # a worker that gives no sign of life; requests have a deadline of their own
# On TCP longer than a proxy keeps an idle connection to us, so that it never meets one we are closing. On a socket an
# idle connection would take the place of a waiting request, and a new one costs next to nothing.
keepalive = 0 if is_behind_proxy else 75
worker_connections = env.int("WEB_CONNECTIONS", default=threads if is_behind_proxy else 1000)
backlog = env.int("WEB_BACKLOG", default=256 if is_behind_proxy else 1024)

accesslog = None  # the application writes one line per request
logconfig_dict = as_dict(env.str("LOG_LEVEL", default="INFO").upper())
logconfig_dict["loggers"]["gunicorn.error"] = {"handlers": ["stderr"], "propagate": False}
# Not even if somebody asks for it: that line has the whole address, and so whatever secret a client puts there.
logconfig_dict["loggers"]["gunicorn.access"] = {"handlers": [], "propagate": False}
control_socket_disable = True  # it would be made in the home directory
if Path("/dev/shm").is_dir():  # noqa: S108 - memory: a slow disk must not look like a dead worker
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def on_starting(_server: Arbiter) -> None:
    """Refuse to start where it could not be right, and make the place where workers add up their metrics."""
    if worker_connections < threads:
        raise SystemExit(f"WEB_CONNECTIONS={worker_connections} would leave some of {threads} threads without work")
    if is_behind_proxy and not env.bool("TRUST_PROXY_HEADERS", default=False):
        raise SystemExit(
            "a unix socket tells nobody's address, so all clients would share one limit: put a proxy in front that "
            "overwrites X-Forwarded-For, as deploy/nginx.conf does, and set TRUST_PROXY_HEADERS=true"
        )
    available = env.int("DATABASE_CONNECTIONS_MAX", default=50) - env.int("DATABASE_CONNECTIONS_RESERVED", default=10)
    per_worker = env.int("DATABASE_POOL_SIZE", default=0) or threads
    if workers * per_worker > available:
        raise SystemExit(
            f"{workers} workers with {per_worker} connections each are {workers * per_worker} connections, and "
            f"the web may have {available}: lower WEB_WORKERS or WEB_THREADS, or raise DATABASE_CONNECTIONS_MAX"
        )
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        Path(directory).mkdir(parents=True, exist_ok=True)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """The processor that the fewest workers have is the new one's."""
    if pins_processors:
        taken = Counter(other.processor for other in server.WORKERS.values())
        worker.processor = min(sorted(os.sched_getaffinity(0)), key=lambda processor: taken[processor])


def post_fork(_server: Arbiter, worker: Worker) -> None:
    if pins_processors:
        os.sched_setaffinity(0, {worker.processor})


def post_worker_init(_worker: Worker) -> None:
    """What was loaded stays, and a request leaves little: the garbage collector need not look again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """A dead worker's live gauges no longer count; its counters do."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)
