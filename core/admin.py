"""Staff look here; what they change, they change through a service that knows who and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core import lists
from core.audit import ActorKind
from core.errors import DomainError
from core.models import AuditEvent, IdempotencyKey, JobRun, KillSwitch, ThrottleWindow

#: Nobody pages through more than this, and counting further is what makes a list of millions slow.
ROWS_COUNTED_MAX = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts up to ROWS_COUNTED_MAX and no further."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:ROWS_COUNTED_MAX]) if isinstance(rows, QuerySet) else len(rows)


class ReadOnlyAdmin(ModelAdmin):
    """Shows every field of the rows and lets nobody add, change or delete one, superusers included."""

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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[lists.ListInItsOrder]:
        return lists.ListInItsOrder

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By what was typed as a whole, where every field of the search is one that has to be equal (`=number`)."""
        fields = self.get_search_fields(request)
        if not search_term or not all(field.startswith("=") for field in fields):
            return super().get_search_results(request, queryset, search_term)
        return lists.search(queryset, [field[1:] for field in fields], search_term), False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Only the actions a subclass names itself: the site's bulk delete is never among them."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if self.fields:
            return self.fields
        return [field.name for field in self.model._meta.fields if field.name not in (self.exclude or ())]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return [*self.get_fields(request, obj), *self.readonly_fields]


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
