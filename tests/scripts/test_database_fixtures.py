"""The tests' own database fixtures keep their promises, or no other test proves anything."""

from __future__ import annotations

from threading import Thread

from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from tests.database import Clone


def test_rollback_allows_a_durable_block(db: None) -> None:
    with transaction.atomic(durable=True):
        Group.objects.create(name="gone after this test")
    assert Group.objects.count() == 1


def test_rollback_leaves_nothing_behind(db: None) -> None:
    assert Group.objects.count() == 0


def test_migrations_are_there(db: None) -> None:
    assert MigrationRecorder.Migration.objects.exists()
    assert Permission.objects.exists()


def test_a_commit_is_seen_by_another_connection(committed_db: Clone) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(Group.objects.count())
        connection.close()

    Group.objects.create(name="committed")
    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [1]


def test_restore_undoes_commits_and_rewinds_sequences(committed_db: Clone) -> None:
    committed_db.restore()
    first = Group.objects.create(name="first")
    first.permissions.add(*Permission.objects.all()[:3])
    committed_db.restore()
    assert Group.objects.count() == 0
    assert Group.permissions.through.objects.count() == 0
    assert Permission.objects.exists()
    assert Group.objects.create(name="again").pk == first.pk


def test_restore_empties_large_tables(committed_db: Clone) -> None:
    Group.objects.bulk_create(Group(name=f"group {number}") for number in range(5_000))
    committed_db.restore()
    assert Group.objects.count() == 0
