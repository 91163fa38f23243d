"""Figures as they were last computed: the dashboards read these, and none of what they were computed from."""

from __future__ import annotations

from django.db import models

from core.ids import uuid7


class FigureSet(models.Model):
    """
    What one source told of one day (UTC), and as of when.

    A day that is over is final once it was read after its end: nothing that is posted later belongs to it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source = models.CharField(max_length=32)
    day = models.DateField()
    as_of = models.DateTimeField()
    is_final = models.BooleanField(default=False)
    note = models.CharField(max_length=500, blank=True, help_text="Why there is nothing, and what to do about it.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["source", "day"], name="figureset_source_day"),)
        indexes = (models.Index(fields=["day"], name="figureset_day"),)

    def __str__(self) -> str:
        return f"{self.source} {self.day}"


class Figure(models.Model):
    """One number of a set; of money it is in its currency, and demo and live are never added up."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    set = models.ForeignKey(FigureSet, on_delete=models.CASCADE, related_name="figures", db_index=False)
    name = models.CharField(max_length=48)
    environment = models.CharField(max_length=4, blank=True)
    currency = models.CharField(max_length=4, blank=True)
    label = models.CharField(max_length=128, blank=True, help_text="An instrument, a queue, a route.")
    value = models.DecimalField(max_digits=30, decimal_places=8)
    unit = models.CharField(max_length=16)
    moment = models.DateTimeField(null=True, help_text="When what it tells of happened, if that was one moment.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["set", "name", "environment", "currency", "label"], name="figure_once"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.environment} {self.currency} {self.label}".strip()
