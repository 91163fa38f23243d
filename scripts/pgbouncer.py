"""
The PgBouncer that tests put between the desk and its database.

    python -m scripts.pgbouncer    find it, or fetch it where that is possible; prints where it is
"""

from __future__ import annotations

import sys

from scripts.debian_package import Program

PGBOUNCER = Program(
    "pgbouncer",
    packages=("pgbouncer",),
    version_option="--version",
    libraries=("libevent-2.1-7", "libevent-2.1-7t64", "libc-ares2", "libcares2"),
)

if __name__ == "__main__":
    sys.exit(PGBOUNCER.tell())
