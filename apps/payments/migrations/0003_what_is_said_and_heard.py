import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from apps.core import operations


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0002_refunds_and_reversals"),
        ("tenants", "0007_accounts"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventCursor",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("name", models.CharField(max_length=20, unique=True)),
                ("through", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ObjectLease",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("object_id", models.CharField(db_collation="C", max_length=80, unique=True)),
                ("token", models.UUIDField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ProviderEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("event_id", models.CharField(db_collation="C", max_length=80, unique=True)),
                ("type", models.CharField(max_length=80)),
                ("object_type", models.CharField(max_length=60)),
                ("object_id", models.CharField(blank=True, db_collation="C", max_length=80)),
                ("livemode", models.BooleanField()),
                ("api_version", models.CharField(blank=True, max_length=40)),
                (
                    "happened_at",
                    models.DateTimeField(help_text="when the provider says it happened"),
                ),
                ("received_at", models.DateTimeField()),
                (
                    "source",
                    models.CharField(
                        choices=[("webhook", "Webhook"), ("backfill", "List of events")],
                        default="webhook",
                        max_length=10,
                    ),
                ),
                ("payload", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "To be handled"),
                            ("done", "Handled"),
                            ("skipped", "Of no interest"),
                            ("dead", "Given up"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                ("handled_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["next_try_at"],
                        name="event_due",
                    ),
                    models.Index(fields=["object_id", "id"], name="event_of_object"),
                    models.Index(fields=["received_at"], name="event_received"),
                    models.Index(
                        condition=models.Q(("state", "dead")), fields=["id"], name="event_dead"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderCall",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("operation", models.CharField(max_length=60)),
                ("about", models.CharField(help_text="what it is for, in our ids", max_length=140)),
                (
                    "lane",
                    models.CharField(help_text="calls of one lane keep their order", max_length=80),
                ),
                (
                    "target",
                    models.CharField(blank=True, help_text="the object it acts on", max_length=80),
                ),
                ("params", models.JSONField(default=dict)),
                ("generation", models.PositiveSmallIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "To be done"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                            ("stuck", "Stuck"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                (
                    "sent_at",
                    models.DateTimeField(
                        help_text="this generation, for the first time", null=True
                    ),
                ),
                ("settled_at", models.DateTimeField(null=True)),
                ("provider_id", models.CharField(blank=True, db_collation="C", max_length=80)),
                ("error_class", models.CharField(blank=True, max_length=10)),
                ("error_code", models.CharField(blank=True, max_length=60)),
                ("decline_code", models.CharField(blank=True, max_length=60)),
                ("error", models.TextField(blank=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["next_try_at"],
                        name="call_due",
                    ),
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["lane", "id"],
                        name="call_lane",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "operation", "about"),
                        name="one_call_a_purpose",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderCustomer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("provider_id", models.CharField(db_collation="C", max_length=80, unique=True)),
                (
                    "livemode",
                    models.BooleanField(help_text="false: money of the provider's test mode"),
                ),
                ("gone_at", models.DateTimeField(help_text="deleted at the provider", null=True)),
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
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("gone_at", None)),
                        fields=("organization",),
                        name="one_customer_an_organization",
                    )
                ],
            },
        ),
        operations.TenantTable("ProviderCustomer"),
        operations.TenantTable("ProviderCall"),
        operations.StateMachine(
            "ProviderCall",
            "state",
            [
                ("pending", "done"),
                ("pending", "refused"),
                ("pending", "stuck"),
                ("stuck", "pending"),
                ("refused", "pending"),
            ],
        ),
        operations.PrivateTable("ProviderEvent"),
        operations.StateMachine(
            "ProviderEvent",
            "state",
            [
                ("pending", "done"),
                ("pending", "skipped"),
                ("pending", "dead"),
                ("done", "pending"),
                ("skipped", "pending"),
                ("dead", "pending"),
            ],
        ),
        operations.PrivateTable("ObjectLease"),
        operations.PrivateTable("EventCursor"),
    ]
