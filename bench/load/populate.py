"""Fill a fresh desk with clients, in a process of its own: `python -m bench.load.populate PEOPLE IDLE ROSTER`."""

from __future__ import annotations

import sys
from pathlib import Path


def main(people: int, idle: int, roster: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from bench.load import crowd
    from config.database import roles
    from trading.services import instruments

    call_command("migrate", verbosity=0, interactive=False)
    roles.define()
    instruments.load_instruments()
    members = crowd.gather(people)
    if idle:
        crowd.add_idle_wallets(idle)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE")
    connection.close()
    crowd.keep(members, roster)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
