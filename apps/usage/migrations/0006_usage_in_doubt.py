import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_issuers_tax_and_test_clocks"),
        ("usage", "0005_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageDoubt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ud")),
                (
                    "source",
                    models.CharField(
                        db_collation="C", help_text="id of what raised it", max_length=40
                    ),
                ),
                ("meter", models.CharField(max_length=64)),
                ("reason", models.CharField(max_length=500)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("settled_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "db_table": "usage_doubt",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("settled_at", None)),
                        fields=["organization"],
                        name="usage_doubt_standing",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "source"), name="usage_doubt_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("since__lt", models.F("until"))),
                        name="usage_doubt_has_hours",
                    ),
                ],
            },
        ),
        operations.TenantTable("UsageDoubt"),
    ]
