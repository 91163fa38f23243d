"""Whoever placed a freeze does not lift it: from now on, and not for what was lifted before."""

import uuid

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_staff_sessions")]

    operations = [
        AddConstraintNotValid(
            model_name="freeze",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("lifted_at__isnull", True), ("lifted_by__isnull", True)),
                    models.Q(
                        ("lifted_at__isnull", False),
                        ("lifted_by__isnull", False),
                        models.Q(
                            ("lifted_by", uuid.UUID("00000000-0000-7000-8000-000000000001")),
                            models.Q(("lifted_by", models.F("placed_by")), _negated=True),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="freeze_is_lifted_by_somebody_else",
            ),
        ),
    ]
