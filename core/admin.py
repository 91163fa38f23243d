"""Staff look here; what they change, they change through a service that knows who and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.paginator import Page, Paginator
from django.db import models
from django.db.models import Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core import lists
from core.audit import ActorKind
from core.errors import DomainError
from core.masking import may_see_personal_data
from core.models import AuditEvent, IdempotencyKey, JobRun, KillSwitch, ThrottleWindow

#: Nobody pages through more than this, and counting further is what makes a list of millions slow.
ROWS_COUNTED_MAX = 10_000

Mask = Callable[[Any], str]


@cache
def decimal_column(field: models.DecimalField[Any, Any]) -> Callable[[Model], str | None]:
    """A column of numbers as people read them: thousands apart, and no zeros behind the cents that say nothing."""

    def text(row: Model) -> str | None:
        value = getattr(row, field.attname)
        return None if value is None else readable(value)

    text.__name__ = field.name
    return display(description=field.verbose_name, ordering=field.name)(text)


def readable(value: Decimal) -> str:
    """At least two decimals, and as many more as are not zero."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts up to ROWS_COUNTED_MAX and no further, and finds a page by its keys before it reads what is on it."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:ROWS_COUNTED_MAX]) if isinstance(rows, QuerySet) else len(rows)

    def page(self, number: int | str) -> Any:
        """
        An index has the keys in their order, so those of a page cost what the index costs.

        Asked for the rows themselves, and those of other tables with them, the database would read and join all that
        come before, or look for rare ones by reading the table backwards.
        """
        rows: Any = self.object_list
        if not isinstance(rows, QuerySet):
            return super().page(number)
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        keys = list(rows.values_list("pk", flat=True)[first : first + self.per_page])
        return Page(rows.filter(pk__in=keys), number, self)


class ReadOnlyAdmin(ModelAdmin):
    """
    Shows every field of the rows and lets nobody add, change or delete one, superusers included.

    Whoever may not see personal data gets the columns of `personal` through their masks, and can neither sort nor
    filter by them: an order, or a list that is empty, would tell what the mask does not.
    """

    #: A mask for each column of personal data.
    personal: Mapping[str, Mask] = MappingProxyType({})

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50
    paginator = CappedPaginator
    actions: Any = ()
    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Django's own log is of what was done by form: there is none, and `AuditEvent` says what was done."""
        raise Http404

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[lists.ListInItsOrder]:
        return lists.ListInItsOrder

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By what was typed as a whole, where every field of the search is one that has to be equal (`=number`)."""
        fields = self.get_search_fields(request)
        if not search_term or not all(field.startswith("=") for field in fields):
            usual: tuple[QuerySet[Any], bool] = super().get_search_results(request, queryset, search_term)
            return usual
        return lists.search(queryset, [field[1:] for field in fields], search_term), False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Only the actions a subclass names itself: the site's bulk delete is never among them."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_list_display(self, request: HttpRequest) -> Any:
        fields = {field.name: field for field in self.model._meta.fields if isinstance(field, models.DecimalField)}
        shown = self._masked(request, super().get_list_display(request))
        return [decimal_column(fields[name]) if name in fields else name for name in shown]

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        shown = self.fields or [
            field.name for field in self.model._meta.fields if field.name not in (self.exclude or ())
        ]
        return self._masked(request, shown)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Nothing can be found out by filtering for it that is not shown."""
        assert request is not None, "Django has passed the request since 5.0"
        column = lookup.partition(LOOKUP_SEP)[0]
        hidden = {*(self.exclude or ()), *(() if may_see_personal_data(request) else self.personal)}
        return column not in hidden and super().lookup_allowed(lookup, value, request)

    def _masked(self, request: HttpRequest, columns: Iterable[Any]) -> list[Any]:
        """The columns as this member of staff may see them: some by name, and some through a mask."""
        if may_see_personal_data(request):
            return list(columns)
        return [_through(self.personal[name], name) if name in self.personal else name for name in columns]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return [*self.get_fields(request, obj), *self.readonly_fields]


@cache
def _through(mask: Mask, column: str) -> Callable[[Model], str]:
    def shown(row: Model) -> str:
        return mask(getattr(row, column))

    shown.__name__ = column
    shown.short_description = column.replace("_", " ")  # type: ignore[attr-defined]  # how Django names a column
    return shown


class ReasonForm(ActionForm):
    """Asked for beside the list of actions; the services refuse to act without."""

    reason = forms.CharField(
        required=False, max_length=500, label="", widget=UnfoldAdminTextInputWidget({"placeholder": "Reason"})
    )


def act_on_each(
    model_admin: ReadOnlyAdmin, request: HttpRequest, rows: QuerySet[Any], act: Callable[[Any, str], object], done: str
) -> None:
    """Act on every row chosen, in a transaction of its own, and tell which were refused and why."""
    reason = request.POST.get("reason", "")
    count = 0
    for row in rows.order_by("pk"):
        try:
            act(row, reason)
        except DomainError as refusal:
            model_admin.message_user(request, f"{row}: {refusal.detail}", messages.ERROR)
        else:
            count += 1
    if count:
        model_admin.message_user(request, f"{count} {done}.", messages.SUCCESS)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "action", "actor_kind", "actor_id", "owner", "object_type", "object_id", "reason")
    list_filter = (("actor_kind", lists.fixed(*ActorKind)),)
    search_fields = ("=owner", "=object_id", "=action")
    search_help_text = "A client's id, an object's id, or an action's whole name"


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "operation", "owner", "status", "response_status", "effect_id", "expires_at")
    list_filter = ("status",)
    search_fields = ("=owner", "=effect_id")
    search_help_text = "A client's id, or the id of what the key brought about"
    fields = (
        "id",
        "owner",
        "operation",
        "status",
        "response_status",
        "effect_id",
        "created_at",
        "completed_at",
        "expires_at",
    )


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "name", "status", "beat_at", "ended_at", "counts")
    list_filter = ("status",)
    search_fields = ("=name",)


@admin.register(KillSwitch)
class KillSwitchAdmin(ReadOnlyAdmin):
    list_display = ("scope", "engaged", "reason", "actor_id", "changed_at")
    ordering = ("scope",)


@admin.register(ThrottleWindow)
class ThrottleWindowAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "tokens_at")
    fields = ("tokens_at",)
    ordering = ("-tokens_at",)
