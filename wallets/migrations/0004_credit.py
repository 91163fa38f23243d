"""Credit is posted like money: only into margin wallets, and never as money."""

from pathlib import Path

from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0003_house_wallets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL((SQL / "judge_entries.sql").read_text(), migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reason__in", ["CREDIT_IN", "CREDIT_OUT"]), _negated=True),
                    ("wallet_version__isnull", True),
                    models.Q(("amount__gt", 0), ("reason", "CREDIT_IN")),
                    models.Q(("amount__lt", 0), ("reason", "CREDIT_OUT")),
                    _connector="OR",
                ),
                name="entry_credit_says_its_direction",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("kind", "CASH"), _negated=True), ("credit", 0), _connector="OR"),
                name="wallet_cash_has_no_credit",
            ),
        ),
    ]
