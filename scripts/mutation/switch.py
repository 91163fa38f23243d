"""Which of the mistakes written into a copy of the code is made; by default none is."""

from __future__ import annotations

import os

VARIABLE = "DESK_MUTANT"

#: A process that is started by a test makes the mistake that its parent makes.
active = int(os.environ.get(VARIABLE, "0"))
reached: set[int] = set()


def on(number: int) -> bool:
    """Whether to make this mistake here and now; that it could have been made is remembered."""
    reached.add(number)
    return number == active


def make(number: int) -> None:
    """From now on, here and in processes that are started from here."""
    global active  # noqa: PLW0603 - one mistake per process is the idea
    active = number
    os.environ[VARIABLE] = str(number)
