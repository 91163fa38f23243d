"""A client's page, the notes on it, and the box that finds it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts import selectors
from accounts.models import TradingAccount, User
from config.back_office.cells import anchor, label
from config.back_office.clients import search
from config.back_office.clients.looks import (
    Look,
    Table,
    client_url,
    environment_label,
    status_label,
)
from config.back_office.clients.models import NOTE_CHARACTERS_MAX
from config.back_office.clients.sections import SECTIONS
from config.back_office.clients.services import notes
from config.back_office.masking import masked_email, may_see_personal_data
from config.back_office.pages import PAGES, page, show
from core import snapshot
from core.api.requests import actor_of
from core.errors import DomainError


class NoteForm(forms.Form):
    """What the next one should know."""

    text = forms.CharField(
        label="New note", max_length=NOTE_CHARACTERS_MAX, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )


# --- One client -------------------------------------------------------------------------------------------------------


@page("clients/<uuid:client_id>/", name="client", title="Client", permission="accounts.view_user")
def client_page(request: HttpRequest, client_id: UUID) -> HttpResponseBase:
    return _show(request, client_id, section=request.GET.get("tab", "overview"), form=NoteForm())


@page(
    "clients/<uuid:client_id>/notes/",
    name="client_note",
    title="New note",
    permission="clients.add_clientnote",
    methods=("POST",),
)
def note_page(request: HttpRequest, client_id: UUID) -> HttpResponseBase:
    """What was typed is never lost: a note that is refused comes back with why."""
    form = NoteForm(request.POST)
    if form.is_valid():
        try:
            notes.add_note(client=client_id, text=form.cleaned_data["text"], actor=actor_of(request))
        except DomainError as refusal:
            form.add_error("text", refusal.detail)
        else:
            messages.success(request, "Noted.")
            return HttpResponseRedirect(client_url(client_id, "notes"))
    return _show(request, client_id, section="notes", form=form, status=400)


def _show(
    request: HttpRequest, client_id: UUID, *, section: str, form: NoteForm, status: int = 200
) -> HttpResponseBase:
    """One section of a client, all of one moment: a balance and the statement behind it agree."""
    if section not in SECTIONS:
        raise Http404
    with snapshot.of_one_moment():
        client = get_object_or_404(User.objects.select_related("referred_by"), pk=client_id, number__isnull=False)
        look = Look(client, request, section)
        if not look.may(*SECTIONS[section].permissions):
            raise PermissionDenied
        labels, blocks = _labels(look), SECTIONS[section].build(look)
    return show(
        request,
        "clients/client.html",
        title=f"{client.number} {client.name}",
        status=status,
        client=client,
        labels=labels,
        buttons=_buttons(look),
        tabs=[
            {"title": one.title, "link": look.link(one.key), "active": one.key == section}
            for one in SECTIONS.values()
            if look.may(*one.permissions)
        ],
        blocks=blocks,
        form=form if section == "notes" and look.may("clients.add_clientnote") else None,
        form_action=reverse("admin:client_note", args=[client.pk]),
    )


def _labels(look: Look) -> list[Any]:
    """What must not be overlooked, whichever section is open: play money or real, and what is stopped."""
    client = look.client
    environments = TradingAccount.objects.filter(owner=client).values_list("environment", flat=True).distinct()
    labels = [environment_label(name) for name in sorted(environments, reverse=True)]
    labels.append(label("ACTIVE", "success") if client.is_active else label("CLOSED", "danger"))
    if look.may("accounts.view_verification"):
        newest = selectors.verification(client.pk)
        labels.append(
            status_label(newest.status, f"VERIFICATION {newest.status}") if newest else label("NO VERIFICATION")
        )
    if look.may("accounts.view_freeze"):
        labels += [label(f"{scope} FROZEN", "danger") for scope in selectors.scopes_frozen(client.pk)]
    return labels


def _buttons(look: Look) -> list[dict[str, str]]:
    """Ways to what else can be done about this client, for those who may, where there is such a page."""
    client = look.client.pk
    ways: tuple[tuple[str, str, list[Any], str], ...] = (
        ("freeze_new", "Place a freeze", [], f"?client={client}"),
        ("adjustment_new", "Propose an adjustment", [], ""),
        ("export_client", "Export", [client], ""),
    )
    buttons = [
        {"title": title, "link": reverse(f"admin:{name}", args=path) + query}
        for name, title, path, query in ways
        if name in PAGES and look.may(PAGES[name].permission)
    ]
    if look.may("alerts.view_alert") and "alert" in apps.all_models["alerts"]:
        alerts = reverse("admin:alerts_alert_changelist")
        buttons.append({"title": "Alerts", "link": f"{alerts}?owner__id={client}"})
    return buttons


# --- Finding one ------------------------------------------------------------------------------------------------------


@page("find/", name="find", title="Find a client", permission="accounts.view_user")
def find_page(request: HttpRequest) -> HttpResponseBase:
    """One hit is gone to at once; of several, each is shown with what it is and whose."""
    typed = request.GET.get("q", "")
    readings = search.read(request, typed)
    hits = [hit for reading in readings for hit in reading.hits]
    if len(hits) == 1:
        return HttpResponseRedirect(hits[0].url)
    return show(
        request,
        "clients/find.html",
        title="Find a client",
        typed=search.plain(typed)[: search.CHARACTERS_MAX],
        is_too_long=len(typed) > search.CHARACTERS_MAX,
        readings=readings,
        results=_results(request, hits) if hits else None,
    )


def _results(request: HttpRequest, hits: list[search.Hit]) -> Table:
    clear = may_see_personal_data(request)
    rows = []
    for hit in hits:
        person = hit.client
        email = "" if person is None else person.email if clear else masked_email(person.email)
        about = [None, None] if person is None else [person.number, person.name]
        rows.append([anchor(hit.url, hit.what), *about, email])
    return Table("Found", ("What", "Client", "Name", "Email"), rows)
