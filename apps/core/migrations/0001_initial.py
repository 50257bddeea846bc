import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        # The organization of the current transaction. nullif: after the first transaction of a
        # connection the setting is '' and not NULL.
        migrations.RunSQL(
            """
            CREATE FUNCTION app_organization_id() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
            AS $$ SELECT nullif(current_setting('app.organization_id', true), '')::bigint $$
            """,
            "DROP FUNCTION app_organization_id()",
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("organization_id", models.BigIntegerField(editable=False, null=True)),
                (
                    "owner",
                    models.CharField(help_text="the API key or user that sent it", max_length=60),
                ),
                ("key", models.CharField(max_length=255)),
                ("route", models.CharField(max_length=200)),
                (
                    "fingerprint",
                    models.CharField(help_text="SHA-256 of the request body", max_length=64),
                ),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.JSONField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization_id", "owner", "route", "key"),
                        name="one_answer_per_key",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="evt")),
                ("organization_id", models.BigIntegerField(editable=False, null=True)),
                ("name", models.CharField(help_text="room.FactName", max_length=100)),
                ("payload", models.JSONField()),
                ("occurred_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization_id", "id"], name="outbox_by_organization")
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxDelivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("organization_id", models.BigIntegerField(editable=False, null=True)),
                ("handler", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("delivered", "Delivered"),
                            ("dead", "Dead"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                ("delivered_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True, default="")),
                (
                    "event",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="core.outboxevent",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "outbox deliveries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["next_try_at"],
                        name="delivery_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("event", "handler"), name="one_delivery_per_handler"
                    )
                ],
            },
        ),
        operations.TenantTable("OutboxEvent"),
        operations.AppendOnly("OutboxEvent"),
        operations.TenantTable("OutboxDelivery"),
        operations.TenantTable("IdempotencyKey"),
    ]
