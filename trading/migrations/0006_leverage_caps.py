"""Leverage caps belong to jurisdictions, and instruments to the groups that these are set for."""

from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0005_margin_engine"),
    ]

    operations = [
        migrations.CreateModel(
            name="LeverageCap",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("jurisdiction", models.CharField(max_length=16)),
                (
                    "leverage_class",
                    models.CharField(
                        choices=[
                            ("FX_MAJOR", "Fx Major"),
                            ("FX_MINOR", "Fx Minor"),
                            ("GOLD", "Gold"),
                            ("INDEX_MAJOR", "Index Major"),
                            ("INDEX_MINOR", "Index Minor"),
                            ("COMMODITY", "Commodity"),
                            ("SHARE", "Share"),
                            ("CRYPTO", "Crypto"),
                        ],
                        max_length=16,
                    ),
                ),
                ("leverage_max", models.PositiveIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="instrument",
            name="leverage_class",
            field=models.CharField(
                choices=[
                    ("FX_MAJOR", "Fx Major"),
                    ("FX_MINOR", "Fx Minor"),
                    ("GOLD", "Gold"),
                    ("INDEX_MAJOR", "Index Major"),
                    ("INDEX_MINOR", "Index Minor"),
                    ("COMMODITY", "Commodity"),
                    ("SHARE", "Share"),
                    ("CRYPTO", "Crypto"),
                ],
                db_default="SHARE",
                default="SHARE",
                help_text="The group that a regulator's cap is looked up by.",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="instrument",
            name="leverage_max",
            field=models.PositiveIntegerField(
                help_text="The desk's own cap, for everybody; empty: none but the desk's for all instruments.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(("leverage_max__isnull", True), ("leverage_max__gte", 1), _connector="OR"),
                name="instrument_leverage_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="leveragecap",
            constraint=models.UniqueConstraint(fields=("jurisdiction", "leverage_class"), name="leveragecap_once"),
        ),
        migrations.AddConstraint(
            model_name="leveragecap",
            constraint=models.CheckConstraint(
                condition=models.Q(("leverage_max__gte", 1)), name="leveragecap_positive"
            ),
        ),
    ]
