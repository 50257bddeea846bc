import datetime

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_issuers_tax_and_test_clocks"),
        ("usage", "0003_event_store"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeviceReport",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="udr")),
                (
                    "instance",
                    models.CharField(
                        db_collation="C", help_text="as it names itself", max_length=96
                    ),
                ),
                ("active_devices", models.PositiveIntegerField(help_text="in use")),
                ("total_devices", models.PositiveIntegerField(help_text="configured")),
                ("reported_at", models.DateTimeField()),
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
                "db_table": "usage_device_report",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["reported_at"], name="device_report_by_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "instance", "reported_at"),
                        name="device_report_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("active_devices__lte", models.F("total_devices"))),
                        name="device_report_adds_up",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "reported_at__gte",
                                datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            ),
                            (
                                "reported_at__lt",
                                datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC),
                            ),
                        ),
                        name="device_report_in_bounds",
                    ),
                ],
            },
        ),
        operations.TenantTable("DeviceReport"),
    ]
