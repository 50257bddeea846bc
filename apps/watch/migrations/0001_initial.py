import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

DECISIONS = [
    ("open", "acknowledged"),
    ("open", "ignored"),
    ("open", "resolved"),
    ("acknowledged", "ignored"),
    ("acknowledged", "resolved"),
]


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0002_issuers_tax_and_test_clocks"),
    ]

    operations = [
        migrations.CreateModel(
            name="WatchMark",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("place", models.PositiveSmallIntegerField(default=1, unique=True)),
                ("epoch", models.IntegerField(null=True)),
                ("snapshot", models.TextField(blank=True, default="")),
                ("looked_at", models.DateTimeField(null=True)),
                (
                    "everything_at",
                    models.DateTimeField(help_text="when all were last looked at", null=True),
                ),
                ("judged_until", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "watch_mark",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("place", 1)), name="one_mark_of_watching"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="al")),
                (
                    "rule",
                    models.CharField(db_collation="C", help_text="its public id", max_length=40),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("percent_of_included", "Usage, percent of what is included"),
                            ("amount", "Amount of the period under way"),
                            ("credits", "Credit left"),
                            ("forecast_percent", "Usage at the period's end, percent of included"),
                            ("forecast_amount", "Amount at the period's end"),
                        ],
                        max_length=20,
                    ),
                ),
                ("subject", models.CharField(db_collation="C", max_length=200)),
                (
                    "name",
                    models.CharField(
                        blank=True, default="", help_text="what was measured", max_length=200
                    ),
                ),
                ("meter", models.CharField(blank=True, default="", max_length=64)),
                (
                    "subscription",
                    models.CharField(blank=True, db_collation="C", default="", max_length=40),
                ),
                ("figure", apps.core.fields.QuantityField(help_text="percent, or minor units")),
                ("limit", apps.core.fields.QuantityField(help_text="percent, or minor units")),
                ("currency", models.CharField(blank=True, default="", max_length=3)),
                ("quantity", apps.core.fields.QuantityField(null=True)),
                ("included", apps.core.fields.QuantityField(null=True)),
                ("window_start", models.DateTimeField(null=True)),
                ("window_end", models.DateTimeField(null=True)),
                ("raised_at", models.DateTimeField()),
                ("cleared_at", models.DateTimeField(null=True)),
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
                "db_table": "watch_alert",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["organization", "-id"], name="alert_latest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("cleared_at", None)),
                        fields=("organization", "rule", "subject"),
                        name="alert_once_a_crossing",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ar")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("percent_of_included", "Usage, percent of what is included"),
                            ("amount", "Amount of the period under way"),
                            ("credits", "Credit left"),
                            ("forecast_percent", "Usage at the period's end, percent of included"),
                            ("forecast_amount", "Amount at the period's end"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "meter",
                    models.CharField(
                        blank=True, default="", help_text="key; empty: any", max_length=64
                    ),
                ),
                ("percent", models.DecimalField(decimal_places=2, max_digits=9, null=True)),
                ("amount", models.BigIntegerField(help_text="minor units", null=True)),
                ("currency", models.CharField(blank=True, default="", max_length=3)),
                ("active", models.BooleanField(default=True)),
                ("set_at", models.DateTimeField()),
                ("set_by", models.CharField(help_text="id of who set it", max_length=60)),
                ("ended_at", models.DateTimeField(null=True)),
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
                "db_table": "watch_alert_rule",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["organization", "id"], name="alert_rule_by_owner")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("amount", None),
                                ("currency", ""),
                                ("kind__in", ("percent_of_included", "forecast_percent")),
                                ("percent__gt", 0),
                            ),
                            models.Q(
                                ("amount__gte", 0),
                                ("kind__in", ("amount", "forecast_amount", "credits")),
                                ("meter", ""),
                                ("percent", None),
                                models.Q(("currency", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="alert_rule_has_its_limit",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("active", True)),
                        fields=("organization", "kind", "meter", "percent", "amount", "currency"),
                        name="alert_rule_once",
                        nulls_distinct=False,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Anomaly",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="an")),
                ("meter", models.CharField(max_length=64)),
                (
                    "direction",
                    models.CharField(choices=[("spike", "Spike"), ("drop", "Drop")], max_length=10),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[
                            ("warning", "Warning"),
                            ("serious", "Serious"),
                            ("critical", "Critical"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("acknowledged", "Acknowledged"),
                            ("ignored", "Ignored"),
                            ("resolved", "Resolved"),
                        ],
                        default="open",
                        max_length=12,
                    ),
                ),
                (
                    "basis",
                    models.CharField(
                        choices=[
                            ("hour_of_week", "The same hour of earlier weeks"),
                            ("hour_of_day", "The same hour of earlier days"),
                            ("overall", "All hours of the last days"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "samples",
                    models.PositiveIntegerField(help_text="hours that the expectation rests on"),
                ),
                ("first_hour", models.DateTimeField()),
                ("last_hour", models.DateTimeField(help_text="the last that was off")),
                ("judged_hour", models.DateTimeField(help_text="the last that was looked at")),
                ("worst_hour", models.DateTimeField()),
                ("hours", models.PositiveIntegerField(default=1, help_text="how many were off")),
                (
                    "quiet_hours",
                    models.PositiveIntegerField(default=0, help_text="usual ones since"),
                ),
                ("seen", apps.core.fields.QuantityField()),
                ("expected", apps.core.fields.QuantityField()),
                ("low", apps.core.fields.QuantityField()),
                ("high", apps.core.fields.QuantityField()),
                ("score", models.DecimalField(decimal_places=1, max_digits=20)),
                ("dimension", models.CharField(blank=True, default="", max_length=200)),
                ("dimension_value", models.TextField(blank=True, default="")),
                ("dimension_share", models.DecimalField(decimal_places=1, max_digits=4, null=True)),
                ("found_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("decided_by", models.CharField(blank=True, default="", max_length=60)),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
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
                "verbose_name_plural": "anomalies",
                "db_table": "watch_anomaly",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="anomaly_latest"),
                    models.Index(
                        condition=models.Q(("status", "open")),
                        fields=["id"],
                        name="anomaly_undecided",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("organization", "meter", "direction"),
                        name="one_anomaly_lasts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("first_hour__lte", models.F("last_hour")),
                            ("last_hour__lte", models.F("judged_hour")),
                        ),
                        name="anomaly_hours_in_order",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WatchTerms",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="wt")),
                ("watched", models.BooleanField(default=True)),
                (
                    "hold_from",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("warning", "Warning"),
                            ("serious", "Serious"),
                            ("critical", "Critical"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "least_events",
                    models.PositiveIntegerField(
                        default=20, help_text="an hour, to be judged at all"
                    ),
                ),
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
                "verbose_name_plural": "watch terms",
                "db_table": "watch_terms",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization",), name="one_watch_terms", nulls_distinct=False
                    )
                ],
            },
        ),
        operations.TenantTable("AlertRule"),
        operations.TenantTable("Alert"),
        operations.TenantTable("Anomaly"),
        operations.StateMachine("Anomaly", "status", DECISIONS),
        operations.TenantTable("WatchTerms"),
        operations.PlatformTable("WatchMark"),
    ]
