"""Figures as they were last computed."""

import django.db.models.deletion
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="FigureSet",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=32)),
                ("day", models.DateField()),
                ("as_of", models.DateTimeField()),
                ("is_final", models.BooleanField(default=False)),
                (
                    "note",
                    models.CharField(
                        blank=True, help_text="Why there is nothing, and what to do about it.", max_length=500
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["day"], name="figureset_day")],
                "constraints": [models.UniqueConstraint(fields=("source", "day"), name="figureset_source_day")],
            },
        ),
        migrations.CreateModel(
            name="Figure",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=48)),
                ("environment", models.CharField(blank=True, max_length=4)),
                ("currency", models.CharField(blank=True, max_length=4)),
                ("label", models.CharField(blank=True, help_text="An instrument, a queue, a route.", max_length=128)),
                ("value", models.DecimalField(decimal_places=8, max_digits=30)),
                ("unit", models.CharField(max_length=16)),
                (
                    "moment",
                    models.DateTimeField(
                        help_text="When what it tells of happened, if that was one moment.", null=True
                    ),
                ),
                (
                    "set",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="figures",
                        to="dashboards.figureset",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("set", "name", "environment", "currency", "label"), name="figure_once"
                    )
                ],
            },
        ),
    ]
