"""
Lose the database under load, bring it back from the backup, and count what is missing: `python -m bench.drill`.

A backup is taken while clients trade money, and the log is received elsewhere, synchronously. Then the server is
killed and its directory deleted. It is restored as docs/OPERATIONS.md says, the clients send again what has no answer,
and the books are verified against a seal that was made before. A second copy is restored up to a moment in between, as
one would to look at the past. Ends with 1 if a figure is missed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.faults.intents import Crowd, first_replies
from bench.faults.stage import BACK_SECONDS_MAX, Stage, settled
from bench.load import processes, systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import embedded_postgres, environment
from scripts.embedded_postgres import Cluster

CLUSTER = environment.VAR / "postgres-drill"
LOG = environment.VAR / "bench" / "drill.log"
PEOPLE = 400
LOAD_SECONDS = 4.0
RECEIVER = "elsewhere"
RESTORED_SECONDS_MAX = 60.0


class Elsewhere:
    """Another machine's disk, as it were: the backup, the received log, and the seals."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.home = cluster.data.with_name(f"{cluster.data.name}.elsewhere")
        self.base, self.log, self.seals = self.home / "base", self.home / "log", self.home / "seals"
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in (self.log, self.seals):
            folder.mkdir(parents=True)
        os.environ["LEDGER_SEAL_DIR"] = str(self.seals)  # for every command from here on

    def command(self, name: str, *options: str) -> list[str]:
        at = ["--host", str(self.cluster.sockets), "--username", embedded_postgres.SUPERUSER]
        return [str(self.cluster.binaries / name), *at, *options]

    @contextmanager
    def receiving(self, server: Server) -> Iterator[None]:
        """No commit is acknowledged before its log is on this disk as well."""
        with psycopg.connect(server.url(embedded_postgres.SUPERUSER), autocommit=True) as session:
            session.execute("SELECT pg_create_physical_replication_slot(%s)", [RECEIVER])
            options = ["--directory", str(self.log), "--slot", RECEIVER, "--synchronous", "--no-loop"]
            environment_ = dict(os.environ) | {"PGAPPNAME": RECEIVER}
            with LOG.open("ab") as log:
                receiver = subprocess.Popen(
                    self.command("pg_receivewal", *options), env=environment_, stdout=log, stderr=log
                )
            streaming = "SELECT FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
            processes.wait_for(
                lambda: session.execute(streaming, [RECEIVER]).rowcount, BACK_SECONDS_MAX, "the receiver"
            )
            session.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{RECEIVER}'")
            session.execute("SELECT pg_reload_conf()")
            synchronous = f"{streaming} AND sync_state = 'sync'"
            processes.wait_for(lambda: session.execute(synchronous, [RECEIVER]).rowcount, BACK_SECONDS_MAX, "its turn")
        try:
            yield
        finally:
            if receiver.poll() is None:
                receiver.terminate()
            receiver.wait()

    def back_up(self) -> None:
        """:raises subprocess.CalledProcessError: if the copy can't be made, or is not whole"""
        options = ["--pgdata", str(self.base), "--checkpoint=fast", "--wal-method=stream"]
        subprocess.run(self.command("pg_basebackup", *options), check=True, capture_output=True)
        verify = [str(self.cluster.binaries / "pg_verifybackup"), "--quiet", str(self.base)]
        subprocess.run(verify, check=True, capture_output=True)

    def restore(self, cluster: Cluster, *, until: datetime | None = None) -> None:
        """Put the backup into the cluster's place, to be rolled forward to the end of the log or to a moment."""
        for partial in self.log.glob("*.partial"):
            whole = partial.with_suffix("")
            if not whole.exists():
                shutil.copy2(partial, whole)
        shutil.copytree(self.base, cluster.data)
        lines = [f"restore_command = 'cp {self.log}/%f %p'", "synchronous_standby_names = ''"]
        if until is not None:
            lines += [f"recovery_target_time = '{until.isoformat()}'", "recovery_target_action = 'promote'"]
        with (cluster.data / "postgresql.auto.conf").open("a") as file:
            file.write("\n".join([*lines, ""]))
        (cluster.data / "recovery.signal").touch()
        if cluster.uid is not None and cluster.gid is not None:
            for top in (cluster.data, self.home):
                for path in (top, *top.rglob("*")):
                    os.chown(path, cluster.uid, cluster.gid, follow_symlinks=False)


def main() -> int:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    embedded_postgres.reset(CLUSTER)  # an earlier one may have ended between loss and restoration
    server = Server(CLUSTER)
    template, members = systems.desk_template(server, PEOPLE)
    print("The desk is up; a backup is made while its clients are at work", flush=True)
    with Stage.set_up(server, template, members, LOG) as stage:
        checks = lose_and_restore(stage)
    checks.append(Check("books afterwards", "exact", "exact", True))
    server.hold.release()
    embedded_postgres.reset(CLUSTER)
    for one in checks:
        print(f"  {one.name:44} {one.promised:>22}   {one.measured}{'' if one.is_kept else '   <- MISSED'}")
    return 0 if all(one.is_kept for one in checks) else 1


def lose_and_restore(stage: Stage) -> list[Check]:
    server, cluster = stage.server, stage.server.hold.cluster
    elsewhere, crowd = Elsewhere(cluster), Crowd(stage.port, stage.members)

    def restore_and_start() -> None:
        elsewhere.restore(cluster)
        server.start()

    with elsewhere.receiving(server), crowd.at_work():
        time.sleep(LOAD_SECONDS)
        backed_up = timed("backup", elsewhere.back_up)
        time.sleep(LOAD_SECONDS)
        sealed = manage(stage, "seal_ledger")
        between = datetime.now(UTC)
        time.sleep(LOAD_SECONDS)
        lost_at = time.monotonic()
        destroy(server)
        restored = timed("restoration", restore_and_start)
        accepted = stage.wait_until_it_accepts()
        time.sleep(LOAD_SECONDS)
    receipts = [reply.at + reply.seconds for reply in first_replies(crowd.intents) if reply.status == 201]
    again = min((at for at in receipts if at >= accepted), default=float("inf"))
    acknowledged = [
        str(json.loads(reply.body)["id"])
        for reply in first_replies(crowd.intents)
        if reply.status == 201 and reply.at + reply.seconds < accepted
    ]
    with psycopg.connect(server.url(stage.database), autocommit=True) as session:
        found = session.execute("SELECT FROM wallets_transfer WHERE id = ANY(%s::uuid[])", [acknowledged])
        lost = len(acknowledged) - found.rowcount
    checks = settled(stage, crowd)  # raises if a receipt is not what it was
    checked = manage(stage, "verify_ledger")
    return [
        Check("backup under load, s", "<= 60", f"{backed_up:.1f}", backed_up <= 60),
        Check("server back from the backup, s", "<= 60", f"{restored:.1f}", restored <= RESTORED_SECONDS_MAX),
        Check("from the loss to the next receipt, s", "<= 60", f"{again - lost_at:.1f}", again - lost_at <= 60),
        Check("acknowledged and lost", "0", f"{lost} of {len(acknowledged)}", lost == 0),
        Check("sealed before, verified after", "0, 0", f"{sealed}, {checked}", (sealed, checked) == (0, 0)),
        *checks,
        *the_past(stage, elsewhere, between),
    ]


def destroy(server: Server) -> None:
    """Everything that runs is killed at once, and everything on the disk is gone."""
    cluster, pids = server.hold.cluster, processes.family(server.pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    processes.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), BACK_SECONDS_MAX, "its end")
    shutil.rmtree(cluster.data)


def the_past(stage: Stage, elsewhere: Elsewhere, moment: datetime) -> list[Check]:
    """The desk as it was at a moment, on a server of its own."""
    past = CLUSTER.with_name(f"{CLUSTER.name}-past")
    embedded_postgres.reset(past)
    cluster = embedded_postgres.locate(past)
    elsewhere.restore(cluster, until=moment)
    with embedded_postgres.use(past, durable=True) as hold:
        url = hold.url(stage.database)
        with psycopg.connect(url, autocommit=True) as session:
            processes.wait_for(
                lambda: session.execute("SELECT WHERE NOT pg_is_in_recovery()").rowcount, BACK_SECONDS_MAX, "the past"
            )
            row = session.execute("SELECT max(posted_at), count(*) FROM wallets_ledgertransaction").fetchone()
        assert row is not None
        newest, count = row
        verified = manage(stage, "verify_ledger", DATABASE_URL=url)
    embedded_postgres.reset(past)
    ((now,),) = stage.ask("SELECT count(*) FROM wallets_ledgertransaction")
    told = f"{(moment - newest).total_seconds():.2f} s before it, {count} of {now}"
    is_kept = newest <= moment and 0 < count < int(str(now))
    return [
        Check("newest posting of the past", "before the moment", told, is_kept),
        Check("its books, against the same seal", "0", str(verified), verified == 0),
    ]


def manage(stage: Stage, *command: str, **settings: str) -> int:
    """The exit status of a management command on the desk's database."""
    variables = dict(os.environ) | stage.settings | settings
    with LOG.open("ab") as log:
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            env=variables,
            cwd=environment.ROOT,
            stdout=log,
            stderr=log,
            check=False,
        )
    return done.returncode


def timed(name: str, work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    print(f"  {name}: {seconds:.1f} s", flush=True)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
