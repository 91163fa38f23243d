"""The switches that stop everybody at once, and who threw them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.services import switches
from config.back_office.cells import Table, colleagues, label
from config.back_office.pages import page, show
from config.back_office.queues import looks
from config.back_office.queues.deciding import ACT, ReasonForm, Step, buttons, decide
from core.models import KillSwitch
from trading.models import Instrument

VIEW, CHANGE = "core.view_killswitch", "core.change_killswitch"
TAKES = ("scope", "reason")
STEPS = {
    "THROW": Step("Stop it", switches.throw_kill_switch, "Stopped, from now on.", CHANGE, "danger", TAKES),
    "RESET": Step("Let it run again", switches.reset_kill_switch, "Running again.", CHANGE, "default", TAKES),
}


def _scopes() -> list[tuple[str, Any]]:
    symbols = Instrument.objects.order_by("symbol").values_list("symbol", flat=True)
    return [
        ("", "Choose one"),
        ("WITHDRAWALS", "All withdrawals"),
        ("TRADING", "All trading"),
        ("One instrument", [(f"TRADING:{symbol}", f"Trading in {symbol}") for symbol in symbols]),
    ]


class SwitchForm(ReasonForm):
    """What to stop, or to let run again, and why."""

    scope = forms.ChoiceField(choices=_scopes, label="Switch", widget=UnfoldAdminSelectWidget)
    field_order = ("scope", "reason")


@page("kill-switches/", name="kill_switches", title="Kill switches", permission=VIEW, methods=ACT)
def kill_switches(request: HttpRequest) -> HttpResponseBase:
    """Every switch that was ever thrown, those that are first; and the form that throws them."""
    if request.method == "POST":
        return decide(request, STEPS, SwitchForm(request.POST), back=reverse("admin:kill_switches"))
    rows = list(KillSwitch.objects.order_by("-engaged", "scope"))
    staff = colleagues(*(row.actor_id for row in rows))
    table = Table(
        headers=["Switch", "State", "Since", "By", "Reason"],
        rows=[
            [
                row.scope,
                label("Stopped", "danger") if row.engaged else label("Running", "success"),
                looks.stamp(row.changed_at),
                staff.get(row.actor_id, "–"),
                row.reason,
            ]
            for row in rows
        ],
    )
    return show(
        request,
        "queues/switches.html",
        title="Kill switches",
        table=table,
        form=SwitchForm(),
        buttons=buttons(request, STEPS, *STEPS),
    )
