"""
A desk whose database has a small disk of its own, which is filled up under load: `python -m bench.faults.full_disk`.

The disk is a file system in memory that is mounted for this process alone, in a mount namespace of its own. Root needs
nothing more for that; anybody else needs a user namespace as well, which most kernels let them have and many
containers do not. Then it is said that nothing was tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psycopg

from bench.faults.intents import first_replies, what_went_wrong
from bench.faults.stage import BOOKS_EXACT, Stage, back, settled
from bench.load import systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import embedded_postgres, environment

CLUSTER = environment.VAR / "small-disk" / "postgres"
SIZE_MB, BLOCK = 640, 1 << 20
PEOPLE = 40
#: What `main` ends with where it may not mount anything.
NO_MOUNT = 3
PAGE = 8192
SEGMENTS_MAX = 60


def is_full(log: Path) -> list[Check] | None:
    """
    The disk of the database is full, for tables and then for the log too.

    None where no disk is to be had for it.
    """
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-current-user", "--keep-caps"]
    if shutil.which("unshare") is None:
        return None
    command = [*unshare, sys.executable, "-m", "bench.faults.full_disk", str(log)]
    done = subprocess.run(command, cwd=environment.ROOT, check=False, capture_output=True, text=True)
    if done.returncode == NO_MOUNT or done.stderr.startswith("unshare: "):
        return None
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    figures = [Check(**one) for one in json.loads(done.stdout.splitlines()[-1])]
    return [*figures, BOOKS_EXACT]


def main(log: Path) -> int:
    home = embedded_postgres.locate(CLUSTER).data.parent
    home.mkdir(parents=True, exist_ok=True)
    options = f"size={SIZE_MB}m,mode=0711"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        return NO_MOUNT
    server = Server(CLUSTER)
    template, members = systems.desk_template(server, PEOPLE)
    with Stage.set_up(server, template, members, log) as stage:
        figures = the_disk_fills_up(stage, home / "ballast")
    print(json.dumps([asdict(one) for one in figures]))
    return 0


def the_disk_fills_up(stage: Stage, ballast: Path, seconds: float = 8.0) -> list[Check]:
    """First no table can grow; then the server, which may not go on without its log, ends and does not come up."""
    with stage.crowd_at_work() as crowd:
        fill(ballast)
        full = time.monotonic()
        time.sleep(seconds)
        free_then = shutil.disk_usage(ballast.parent).free
        use_up_the_log(stage)
        time.sleep(seconds / 2)
        is_down, freed = not stage.accepts(), time.monotonic()
        ballast.unlink()
        stage.server.start()  # as whoever made room does
        accepted = stage.wait_until_it_accepts()
        stage.carry_on(crowd, accepted)
    meanwhile = [reply for reply in first_replies(crowd.intents) if full <= reply.at < freed]
    others = [reply for reply in meanwhile if not reply.is_proper]
    refused = sum(reply.status == 503 for reply in meanwhile)
    told = f"{refused} of {len(meanwhile)} {what_went_wrong(meanwhile)}"
    return [
        Check("free on the disk, blocks", "0", str(free_then // PAGE), free_then < PAGE),
        Check("answered 503 meanwhile", "> 0", told, refused > 0),
        Check("neither receipt nor 503", "none", str(what_went_wrong(others) or "none"), not others),
        Check("the server in the end", "down", "down" if is_down else "up", is_down),
        back("first receipt after it accepts", stage, crowd, accepted),
        *settled(stage, crowd),
    ]


def fill(ballast: Path) -> None:
    """Write until nothing more can be written."""
    with ballast.open("wb", buffering=0) as file:
        for size in (BLOCK, PAGE):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def use_up_the_log(stage: Stage) -> None:
    """Leave every segment of the log that is there already; the next one has to be made."""
    with suppress(psycopg.OperationalError), stage.operator() as session:
        for _ in range(SEGMENTS_MAX):
            session.execute(
                "SELECT pg_switch_wal(), pg_logical_emit_message(false, 'faults', 'so there is one to leave')"
            )
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
