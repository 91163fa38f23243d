"""Staff filter the longest lists by what is rare in them; the tables are written to while the indexes are built."""

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("referrals", "0002_signup_bonus"),
        ("trading", "0007_staff_lists"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="accrual",
            index=models.Index(
                condition=models.Q(("outcome__in", ["PENDING", "ACCRUED", "UNREFERRED"]), _negated=True),
                fields=["outcome", "deal"],
                name="accrual_outcome",
            ),
        ),
    ]
