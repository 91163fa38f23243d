"""One alert: what was found, what people made of it, and what can be done about it from where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.backends import ModelBackend
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from config.back_office.alerts import rules, telling
from config.back_office.alerts.models import Alert
from config.back_office.alerts.services import workflow
from config.back_office.cells import colleagues
from config.back_office.pages import page, show, told
from core.api.requests import actor_of
from core.models import AuditEvent
from wallets.rules import REASON_CHARACTERS_MAX

#: Notes and events shown of one alert, newest first.
LINES_MAX = 200


def _text(placeholder: str) -> forms.CharField:
    """Its absence is for the service to refuse, in its own words."""
    widget = UnfoldAdminTextInputWidget({"placeholder": placeholder})
    return forms.CharField(required=False, max_length=REASON_CHARACTERS_MAX, label=placeholder, widget=widget)


class NoteForm(forms.Form):
    text = _text("What was found out")


class ReasonForm(forms.Form):
    reason = _text("Reason")


class AssignForm(ReasonForm):
    """Whom to give it to; `seen` is who had it when the page was shown."""

    field_order = ("assignee", "reason")

    assignee = forms.ModelChoiceField(queryset=User.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None)
    seen = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["assignee"]
        field.queryset = ModelBackend().with_perm("alerts.change_alert").filter(is_staff=True).order_by("name")
        field.label_from_instance = lambda colleague: colleague.name or colleague.email


class EscalateForm(ReasonForm):
    field_order = ("to", "reason")

    to = forms.ChoiceField(choices=Alert.Desk.choices, widget=UnfoldAdminSelectWidget)


class CloseForm(ReasonForm):
    field_order = ("outcome", "reason")

    outcome = forms.ChoiceField(choices=Alert.Outcome.choices, widget=UnfoldAdminSelectWidget)


def _assign(cleaned: dict[str, Any], **about: Any) -> object:
    assignee: User = cleaned.pop("assignee")
    return workflow.assign_alert(assignee=assignee.pk, **cleaned, **about)


def _escalate(cleaned: dict[str, Any], **about: Any) -> object:
    return workflow.escalate_alert(**cleaned, **about)


def _close(cleaned: dict[str, Any], **about: Any) -> object:
    return workflow.close_alert(**cleaned, **about)


def _reopen(cleaned: dict[str, Any], **about: Any) -> object:
    return workflow.reopen_alert(**cleaned, **about)


Act = Callable[..., object]

#: Each step's form, what it does, and what is said when it is done.
STEPS: Mapping[str, tuple[type[forms.Form], Act, str]] = {
    "assign": (AssignForm, _assign, "Assigned."),
    "escalate": (EscalateForm, _escalate, "Escalated."),
    "close": (CloseForm, _close, "Closed."),
    "reopen": (ReasonForm, _reopen, "Reopened."),
}


@page("alerts/<uuid:alert_id>/", name="alert", title="Alert", permission="alerts.view_alert")
def alert_page(request: HttpRequest, alert_id: UUID) -> HttpResponseBase:
    alert = Alert.objects.select_related("owner", "rule", "assignee", "escalated_by", "closed_by").filter(pk=alert_id)
    found = alert.first()
    if found is None:
        raise Http404
    return show(
        request,
        "alerts/alert.html",
        title=f"{found.get_code_display()}: {found.owner.name}",
        alert=found,
        client=telling.client_link(found.owner_id, found.owner.name),
        sentences=telling.sentences(found),
        movements={"headers": ["What", "Amount", "When", "Where it is kept"], "rows": telling.movements(found)},
        people={"headers": ["Client", "Connected by"], "rows": telling.people(found)},
        notes={"headers": ["When", "Who", "Note"], "rows": _notes(found)},
        history={"headers": ["When", "Who", "What", "Reason"], "rows": _history(found)},
        steps=_steps(request, found),
        note=NoteForm() if request.user.has_perm("alerts.add_alertnote") else None,
    )


@page(
    "alerts/<uuid:alert_id>/note/",
    name="alert_note",
    title="Note",
    permission="alerts.add_alertnote",
    methods=("POST",),
)
def alert_note_page(request: HttpRequest, alert_id: UUID) -> HttpResponseBase:
    return _act(request, alert_id, NoteForm, lambda cleaned, **about: workflow.note_alert(**cleaned, **about), "Noted.")


@page(
    "alerts/<uuid:alert_id>/<str:step>/",
    name="alert_step",
    title="Alert",
    permission="alerts.change_alert",
    methods=("POST",),
)
def alert_step_page(request: HttpRequest, alert_id: UUID, step: str) -> HttpResponseBase:
    if step not in STEPS:
        raise Http404
    return _act(request, alert_id, *STEPS[step])


def _act(request: HttpRequest, alert_id: UUID, form_class: type[forms.Form], act: Act, done: str) -> HttpResponseBase:
    form = form_class(request.POST)
    if not form.is_valid():
        for field, errors in form.errors.items():
            messages.error(request, f"{field.capitalize()}: {' '.join(map(str, errors))}")
    else:
        told(request, lambda: act(form.cleaned_data, alert_id=alert_id, actor=actor_of(request)), done)
    return HttpResponseRedirect(reverse("admin:alert", args=[alert_id]))


def _steps(request: HttpRequest, alert: Alert) -> list[dict[str, Any]]:
    """The forms of what this member of staff may do with the alert from where it stands."""
    if not request.user.has_perm("alerts.change_alert"):
        return []
    possible = rules.steps_from(alert)
    first = {"assign": {"assignee": request.user.pk, "seen": alert.assignee_id}}
    return [
        {
            "title": step.capitalize(),
            "form": form_class(initial=first.get(step), auto_id=f"{step}_%s"),
            "action": reverse("admin:alert_step", args=[alert.pk, step]),
        }
        for step, (form_class, _, _) in STEPS.items()
        if step in possible
    ]


def _notes(alert: Alert) -> list[list[Any]]:
    notes = alert.notes.select_related("author").order_by("-pk")[:LINES_MAX]
    return [[f"{note.written_at:%Y-%m-%d %H:%M} UTC", note.author.name, note.text] for note in notes]


def _history(alert: Alert) -> list[list[Any]]:
    trail = AuditEvent.objects.filter(object_type=alert._meta.label_lower, object_id=str(alert.pk))
    events = list(trail.exclude(action="config.alert.noted").order_by("-pk")[:LINES_MAX])
    names = colleagues(*{event.actor_id for event in events})
    return [
        [
            f"{event.created_at:%Y-%m-%d %H:%M} UTC",
            names.get(event.actor_id, "The desk"),
            event.action.rpartition(".")[2].capitalize(),
            event.reason,
        ]
        for event in events
    ]
