"""What every test stands on: a fresh environment, a real PostgreSQL, and a database of the process's own."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from scripts import embedded_postgres, environment
from tests import database, pooled
from tests.live_desk import LiveDesk
from tests.pooled import Pooler

# Settings are read after this module and before the first test: hence the environment is made at import.
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
SCRATCH = Path(tempfile.mkdtemp(prefix="desk-test-"))
HOLD: embedded_postgres.Hold | None = None
#: With this set, Django and every process that a test starts reach the database through PgBouncer.
IS_POOLED = os.environ.get("TEST_BEHIND_PGBOUNCER") == "1"
SESSIONS_LENT = 60  # to each process: more than any test wants at once
POOLER = ExitStack()

if not IS_WORKER:  # a worker inherits its controller's, and has read its settings from them before this line
    environment.install(environment.fresh_secrets())
    environment.install(
        {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
            "INSECURE_HTTP": "true",
            "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
            "PAYMENT_PROVIDER": "sandbox",
            "LOG_LEVEL": "WARNING",
        }
    )
if "DATABASE_URL" not in os.environ:
    # Workers inherit the variable and use the server under their controller's share, which outlives theirs.
    HOLD = database.start_cluster()
    os.environ["DATABASE_URL"] = HOLD.url("desk")
if IS_POOLED:
    os.environ["DATABASE_BEHIND_PGBOUNCER"] = "true"


def pytest_configure() -> None:
    from django.conf import settings

    # Templates in tests need no collected files; what browsers get is tested against the real server.
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    # Each test client loads the middleware anew, and WhiteNoise then reads everything that was ever collected.
    settings.STATIC_ROOT = SCRATCH / "static"
    settings.STATIC_ROOT.mkdir()
    settings.LEDGER_SEAL_DIR = SCRATCH / "seals"
    if IS_POOLED and HOLD is not None:
        pooler = Pooler.serve(HOLD.cluster, size=SESSIONS_LENT, options=settings.SESSION_OPTIONS)
        os.environ["TEST_PGBOUNCER"] = str(POOLER.enter_context(pooler).directory)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_POOLED:
        pooled.skip_what_needs_a_session(items)


def pytest_collection_finish() -> None:
    # What is imported by now stays to the end: looking through it for garbage again and again takes a tenth of a run.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)
    POOLER.close()
    if HOLD is not None:
        HOLD.release()


@pytest.fixture(scope="session")
def desk_database(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[database.Clone]:
    """This process's own clone of the migrated template, with Django connected to it."""
    from django.db import connection, connections

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with django_db_blocker.unblock():
        connection.close()
        clone = database.clone_template(
            os.environ["DATABASE_URL"], label=worker, rebuild=request.config.getvalue("create_db")
        )
        connection.settings_dict["NAME"] = clone.name
        if IS_POOLED:  # sessions are lent to one after the other, so none can lay its rights down
            lent = Pooler(Path(os.environ["TEST_PGBOUNCER"]))
            connection.settings_dict["OPTIONS"]["host"] = str(lent.directory)
            clone.url = clone.desks_url = lent.url(clone.name)
        else:
            database.become_the_desk()
    yield clone
    with django_db_blocker.unblock():
        connections.close_all()
    clone.drop()


@pytest.fixture(scope="session")
def django_db_setup(desk_database: database.Clone) -> None:
    """Replaces pytest-django's own set-up, which migrates once per process."""


@pytest.fixture
def committed_db(desk_database: database.Clone, django_db_blocker: DjangoDbBlocker) -> Iterator[database.Clone]:
    """
    The database for tests that commit, from any thread or process; put back afterwards.

    Threads of a test close their own connections.
    """
    from django.db import connections

    with django_db_blocker.unblock():
        yield desk_database
        connections.close_all()
    desk_database.restore()


@pytest.fixture(scope="session")
def live_desk(desk_database: database.Clone) -> Iterator[LiveDesk]:
    """A real gunicorn on this process's database, for what only real sockets, processes and commits can show."""
    with LiveDesk.serve(desk_database.desks_url, SCRATCH) as desk:
        yield desk
