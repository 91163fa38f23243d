"""A set of figures is replaced as a whole, and never by an older one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from django.db import transaction

from config.back_office.dashboards.models import Figure, FigureSet
from config.back_office.figures import Reading
from core.db import retry_on_conflict

#: What tells one figure of a set from another.
_DIMENSIONS = ("name", "environment", "currency", "label")
_FACTS = ("value", "unit", "moment")


@retry_on_conflict
@transaction.atomic(durable=True)
def store_figures(
    *, source: str, day: date, readings: Sequence[Reading], as_of: datetime, is_final: bool, note: str = ""
) -> bool:
    """
    Make `readings` all that a source tells of a day; False if a later look at it is there already.

    Figures that were there keep their rows, and those that are no longer told go. If the outcome of the commit is
    unknown, do it again.
    """
    FigureSet.objects.bulk_create([FigureSet(source=source, day=day, as_of=as_of)], ignore_conflicts=True)
    row = FigureSet.objects.select_for_update(no_key=True).order_by("id").get(source=source, day=day)
    if row.as_of > as_of:
        return False
    row.as_of, row.is_final, row.note = as_of, is_final, note
    row.save(update_fields=["as_of", "is_final", "note"])
    kept = {
        (figure.name, figure.environment, figure.currency, figure.label): figure.pk
        for figure in Figure.objects.filter(set=row)
    }
    told = {(one.name, one.environment, one.currency, one.label) for one in readings}
    assert len(told) == len(readings), f"{source} tells a figure twice"
    Figure.objects.filter(pk__in=[key for dimensions, key in kept.items() if dimensions not in told]).delete()
    Figure.objects.bulk_create(
        [_figure(row, one) for one in readings],
        update_conflicts=True,
        unique_fields=["set", *_DIMENSIONS],
        update_fields=list(_FACTS),
    )
    return True


def _figure(row: FigureSet, reading: Reading) -> Figure:
    return Figure(set=row, **{name: getattr(reading, name) for name in (*_DIMENSIONS, *_FACTS)})


@retry_on_conflict
@transaction.atomic(durable=True)
def purge_figures(*, before: date, limit: int) -> int:
    """Delete at most `limit` sets of days before a day, with their figures; 0 means that none were left to delete."""
    ids = list(FigureSet.objects.filter(day__lt=before).order_by("day", "id").values_list("pk", flat=True)[:limit])
    Figure.objects.filter(set__in=ids).delete()
    gone, _ = FigureSet.objects.filter(pk__in=ids).delete()
    return gone
