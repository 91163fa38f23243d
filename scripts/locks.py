"""File locks that the kernel drops with their holder, so that nothing has to be cleaned up after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX
LOOK_SECONDS = 0.02


def open_lock(path: Path) -> int:
    """
    Open a lock file; lock files are never deleted, since two processes could then lock two files of one name.

    :raises PermissionError: if it belongs to another user
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def lock(handle: int, kind: int, *, seconds: float = 0.0) -> bool:
    """Take the lock within so many seconds; a shared one that is held is given back even if that fails."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        else:
            return True


@contextlib.contextmanager
def held(path: Path, kind: int, *, seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock for a block, which is told whether it was to be had."""
    handle = open_lock(path)
    try:
        yield lock(handle, kind, seconds=seconds)
    finally:
        os.close(handle)
