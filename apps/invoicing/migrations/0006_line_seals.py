import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    dependencies = [
        ("invoicing", "0005_guards_see_every_row"),
        ("tenants", "0002_issuers_tax_and_test_clocks"),
    ]

    operations = [
        migrations.CreateModel(
            name="LineSeal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("seal", models.CharField(db_collation="C", max_length=40)),
                ("quantity", apps.core.fields.QuantityField()),
                ("events", models.BigIntegerField()),
                ("values", models.BigIntegerField()),
                (
                    "hash",
                    models.CharField(
                        help_text="order-free, over the events' digests", max_length=32
                    ),
                ),
                ("sealed_at", models.DateTimeField()),
                (
                    "correction",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.correction",
                    ),
                ),
                (
                    "line",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.invoiceline",
                    ),
                ),
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
                "indexes": [models.Index(fields=["organization", "seal"], name="lines_of_seal")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("line__isnull", False)),
                        fields=("organization", "line"),
                        name="a_line_is_sealed_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("correction__isnull", False)),
                        fields=("organization", "correction"),
                        name="a_correction_is_sealed_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("correction__isnull", False), ("line__isnull", True)),
                            models.Q(("correction__isnull", True), ("line__isnull", False)),
                            _connector="OR",
                        ),
                        name="a_seal_is_of_one_thing",
                    ),
                ],
            },
        ),
        operations.TenantTable("LineSeal"),
        operations.AppendOnly("LineSeal"),
    ]
