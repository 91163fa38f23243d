"""Lift the freezes whose time is over."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from accounts import selectors
from accounts.services import freezes
from accounts.services.freezes import FreezeLifted
from core.audit import Actor
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Lift the freezes whose time is over; any number of these may run at once."
    has_dry_run = True
    watch_seconds = 60.0

    def run(self, *, dry_run: bool = False, **_: Any) -> dict[str, Any]:
        due = list(selectors.freezes_due(timezone.now()).values_list("pk", flat=True))
        lifted = 0
        for freeze_id in [] if dry_run else due:
            try:
                freezes.lift_freeze(
                    freeze_id=freeze_id, reason="Its time is over.", actor=Actor.system("expire_freezes")
                )
            except FreezeLifted:  # by staff, or by another of these, since it was listed
                continue
            lifted += 1
        return {"due": len(due), "lifted": lifted}
