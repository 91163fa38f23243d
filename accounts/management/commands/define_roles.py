"""Give the roles what the permission matrix gives them; to be run after every migration."""

from __future__ import annotations

from typing import Any

from accounts.services import staff
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Make the staff roles what the code says they are: their permissions, and no other roles."

    def run(self, **_: Any) -> dict[str, Any]:
        return dict(staff.define_roles())
