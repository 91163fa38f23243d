"""An installation is warned when the desk may do more than it need, or anybody may read its secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from config.database import roles
from config.database.access import RUNTIME

POWERS_TOLD_MAX = 5


def check_the_desk_is_not_the_owner(*, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """Asked with `check --deploy --database default`, since it takes a connection to ask."""
    if not databases:
        return []
    role = roles.current_role()
    beyond = roles.powers_beyond(role)
    if not beyond:
        return []
    told = ", ".join(beyond[:POWERS_TOLD_MAX])
    more = f" and {len(beyond) - POWERS_TOLD_MAX} more" if len(beyond) > POWERS_TOLD_MAX else ""
    return [
        checks.Warning(
            f"the desk runs as {role}, which has {told}{more}",
            hint=f"Run define_database_roles as the owner, and let DATABASE_URL name {RUNTIME}.",
            id="database.W001",
        )
    ]


def check_secrets_are_nobody_elses(**_: Any) -> list[checks.CheckMessage]:
    """Orchestrators hand over files that everybody may read, unless they are told otherwise."""
    return [
        checks.Warning(
            f"anybody on this machine may read {path}",
            hint="Let the desk's own user read it alone.",
            id="database.W002",
        )
        for path in settings.SECRETS_OPEN_TO_ALL.values()
    ]
