"""Where an export or a statement is asked for; the answer is the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.widgets import BASE_INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.models import User
from config.back_office.exports import packing, paper, statements
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period
from config.back_office.exports.services import exports
from config.back_office.masking import may_see_personal_data
from config.back_office.pages import page, show
from core.api.requests import actor_of
from core.errors import DomainError, NotFound
from trading.models import Instrument
from wallets.rules import REASON_CHARACTERS_MAX

#: A download keeps a thread and a connection; what takes longer is made with the command.
DOWNLOAD_SECONDS_MAX = 300

GET_OR_POST = ("GET", "HEAD", "POST")


class Day(forms.DateInput):
    """The browser's own calendar."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(attrs={"class": " ".join(BASE_INPUT_CLASSES)}, format="%Y-%m-%d")


class PeriodForm(forms.Form):
    """From the beginning of one day to the beginning of another, in UTC."""

    to = forms.DateField(label="To", help_text="This day is no longer in it.", widget=Day)
    field_order: Any = ("symbol", "from", "to", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if "from" in cleaned and "to" in cleaned:
            try:
                cleaned["period"] = Period.of_days(cleaned["from"], cleaned["to"])
            except DomainError as refusal:
                raise forms.ValidationError(refusal.detail, code=refusal.code) from refusal
        return cleaned


# A class body cannot spell a field named `from`.
PeriodForm.base_fields["from"] = forms.DateField(label="From", help_text="From 00:00 UTC of this day.", widget=Day)


class ExportForm(PeriodForm):
    """A period, and why it is needed."""

    reason = forms.CharField(
        label="Reason",
        max_length=REASON_CHARACTERS_MAX,
        help_text="Who wants it and what for; it stays on record.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class InstrumentForm(ExportForm):
    """An instrument as well."""

    symbol = forms.ModelChoiceField(
        label="Instrument",
        queryset=Instrument.objects.order_by("symbol"),
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )


@page(
    "clients/<uuid:owner>/export/",
    name="export_client",
    title="Export",
    permission="exports.add_export",
    methods=GET_OR_POST,
)
def export_client(request: HttpRequest, owner: UUID) -> HttpResponseBase:
    """Everything about one client over a period, as a zip."""
    _require_personal_data(request)
    client = get_object_or_404(User, pk=owner, is_staff=False)
    form = ExportForm(request.POST if request.method == "POST" else None)

    def ask(terms: dict[str, Any]) -> Export:
        return exports.ask_for_client(
            client=client.pk, period=terms["period"], reason=terms["reason"], actor=actor_of(request)
        )

    return _export(request, form, ask, title=f"Export {client.number}")


@page(
    "exports/instrument/",
    name="export_instrument",
    title="Export an instrument",
    permission="exports.add_export",
    methods=GET_OR_POST,
)
def export_instrument(request: HttpRequest) -> HttpResponseBase:
    """Everything about one instrument over a period, as a zip."""
    _require_personal_data(request)
    form = InstrumentForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())

    def ask(terms: dict[str, Any]) -> Export:
        return exports.ask_for_instrument(
            symbol=terms["symbol"].pk, period=terms["period"], reason=terms["reason"], actor=actor_of(request)
        )

    return _export(request, form, ask, title="Export an instrument")


@page("wallets/<str:number>/statement/", name="statement_pdf", title="Statement", permission="wallets.view_entry")
def statement_pdf(request: HttpRequest, number: str) -> HttpResponseBase:
    """A wallet's statement over a period as a PDF; without a period, the form that asks for one."""
    form = PeriodForm(request.GET if "from" in request.GET else None)
    if form.is_valid():
        try:
            statement = statements.statement(number, form.cleaned_data["period"])
        except NotFound as unknown:
            raise Http404 from unknown
        except DomainError as refusal:
            form.add_error(None, refusal.detail)
        else:
            content = paper.print_statement(
                statement, generated_at=timezone.now(), with_address=may_see_personal_data(request)
            )
            response = HttpResponse(content, content_type="application/pdf")
            return _attached(response, f"statement-{number}-{_days(statement.period)}.pdf")
    return show(request, "exports/statement.html", title=f"Statement of {number}", form=form)


def _require_personal_data(request: HttpRequest) -> None:
    """An export masks nothing. :raises PermissionDenied: for whoever may not read personal data in clear"""
    if not may_see_personal_data(request):
        raise PermissionDenied


def _export(
    request: HttpRequest, form: ExportForm, ask: Callable[[dict[str, Any]], Export], *, title: str
) -> HttpResponseBase:
    if form.is_bound and form.is_valid():
        try:
            export = ask(form.cleaned_data)
        except DomainError as refusal:
            form.add_error(None, refusal.detail)
        else:
            pieces = packing.pack(export, actor=actor_of(request), seconds_max=DOWNLOAD_SECONDS_MAX)
            response = StreamingHttpResponse(pieces, content_type="application/zip")
            period = Period(export.period_from, export.period_to)
            return _attached(response, f"export-{export.subject}-{_days(period)}.zip")
    status = 400 if form.is_bound else 200
    return show(request, "exports/export.html", title=title, status=status, form=form)


def _attached(response: HttpResponseBase, name: str) -> HttpResponseBase:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _days(period: Period) -> str:
    return f"{period.start:%Y%m%d}-{period.end:%Y%m%d}"
