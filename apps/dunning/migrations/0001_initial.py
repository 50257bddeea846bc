from datetime import UTC, datetime

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

STATES = (
    ("running", "paused"),
    ("paused", "running"),
    ("running", "ended"),
    ("paused", "ended"),
)
BEGUN = datetime(2026, 11, 20, tzinfo=UTC)
# The day, what happens, by which mail, and in which runs where not in all.
DEFAULT = (
    (0, "remind", "reminder", "failed"),
    (1, "remind", "reminder", "overdue"),
    (1, "past_due", "", ""),
    (3, "remind", "reminder", "failed"),
    (7, "remind", "urgent", ""),
    (14, "remind", "final", ""),
    (21, "unpaid", "", ""),
    (21, "notify_staff", "", ""),
)


def define_default(apps, schema_editor):
    """Give everybody a campaign: staff change it, and define others beside it."""
    alias = schema_editor.connection.alias
    campaign = apps.get_model("dunning", "Campaign")(name="Standard", set_at=BEGUN)
    campaign.save(using=alias)
    apps.get_model("dunning", "CampaignVersion").objects.using(alias).create(
        campaign=campaign,
        number=1,
        name=campaign.name,
        hour=9,
        steps=[
            {"days": days, "hours": 0, "action": action, "argument": argument, "only": only}
            for days, action, argument, only in DEFAULT
        ],
        set_at=BEGUN,
        set_by="migration",
    )


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("invoicing", "0009_born_final"),
        ("tenants", "0007_accounts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Campaign",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="dc")),
                ("name", models.CharField(max_length=100)),
                (
                    "organizations",
                    models.JSONField(default=list, help_text="their public ids; none: of all"),
                ),
                ("plans", models.JSONField(default=list, help_text="their codes; none: of all")),
                ("set_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.billingentity",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="CampaignVersion",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="dcv")),
                ("number", models.PositiveIntegerField()),
                ("name", models.CharField(help_text="the campaign's, as it was", max_length=100)),
                ("hour", models.PositiveSmallIntegerField(default=9)),
                ("steps", models.JSONField()),
                ("set_at", models.DateTimeField()),
                ("set_by", models.CharField(help_text="id of who set it", max_length=60)),
                (
                    "campaign",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="dunning.campaign",
                    ),
                ),
            ],
            options={
                "ordering": ["campaign_id", "-number"],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="dun")),
                (
                    "number",
                    models.CharField(db_collation="C", help_text="the invoice's", max_length=40),
                ),
                (
                    "because",
                    models.CharField(
                        choices=[
                            ("overdue", "The invoice is overdue"),
                            ("failed", "A payment failed"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("running", "Running"), ("paused", "Paused"), ("ended", "Ended")],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "anchor",
                    models.DateTimeField(help_text="the due date, or the first failed payment"),
                ),
                ("timezone", models.CharField(max_length=64)),
                ("began_at", models.DateTimeField()),
                ("shift", models.PositiveIntegerField(default=0, help_text="days")),
                ("following", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                (
                    "level",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Nothing"),
                            ("past_due", "Past due"),
                            ("unpaid", "Unpaid"),
                            ("canceled", "Canceled"),
                            ("downgraded", "On a lower plan"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                ("decline_class", models.CharField(blank=True, default="", max_length=10)),
                (
                    "attempts",
                    models.PositiveIntegerField(
                        default=0, help_text="failed ones that were told of"
                    ),
                ),
                ("paused_at", models.DateTimeField(null=True)),
                ("paused_until", models.DateTimeField(null=True)),
                (
                    "reason",
                    models.CharField(
                        blank=True, default="", help_text="of pause or stop", max_length=200
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("paid", "Paid"),
                            ("credited", "Credited"),
                            ("voided", "The invoice is void"),
                            ("written_off", "The invoice was given up"),
                            ("stopped", "Stopped by staff"),
                            ("exhausted", "All steps were taken"),
                        ],
                        default="",
                        max_length=12,
                    ),
                ),
                (
                    "invoice",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.invoice",
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
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="dunning.campaignversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="due")),
                ("position", models.PositiveSmallIntegerField(null=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("remind", "Reminder"),
                            ("notify_staff", "Told staff"),
                            ("past_due", "Past due"),
                            ("unpaid", "Unpaid"),
                            ("cancel", "Canceled"),
                            ("downgrade", "Plan changed"),
                            ("begun", "Begun"),
                            ("failed", "A payment failed"),
                            ("action", "The customer has to confirm"),
                            ("method", "Another payment method"),
                            ("paused", "Paused"),
                            ("resumed", "Resumed"),
                            ("ended", "Ended"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("done", "Done"),
                            ("superseded", "Left out: a later one was due"),
                            ("skipped", "Left out"),
                            ("refused", "Not possible"),
                        ],
                        default="done",
                        max_length=10,
                    ),
                ),
                (
                    "cause",
                    models.CharField(blank=True, db_collation="C", default="", max_length=100),
                ),
                ("note", models.CharField(blank=True, default="", max_length=300)),
                ("details", models.JSONField(default=dict)),
                (
                    "due_at",
                    models.DateTimeField(help_text="of a step: when it was to come", null=True),
                ),
                ("at", models.DateTimeField()),
                ("by", models.CharField(help_text="who", max_length=200)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
                (
                    "run",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="dunning.run",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "entries",
                "ordering": ["id"],
            },
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)), fields=("name",), name="one_campaign_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="campaignversion",
            constraint=models.UniqueConstraint(
                fields=("campaign", "number"), name="one_version_a_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="campaignversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("hour__lte", 23)), name="an_hour_of_the_day"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("released_at", None)),
                fields=["organization", "invoice"],
                name="runs_that_count",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["next_at"], name="runs_due"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("status", "paused")), fields=["paused_until"], name="pauses_due"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["organization", "-id"], name="runs_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "ended"), _negated=True),
                fields=("organization", "invoice"),
                name="one_open_run_an_invoice",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at__isnull", False),
                        ("status", "ended"),
                        models.Q(("outcome", ""), _negated=True),
                    ),
                    models.Q(
                        models.Q(("status", "ended"), _negated=True),
                        ("ended_at", None),
                        ("outcome", ""),
                        ("released_at", None),
                    ),
                    _connector="OR",
                ),
                name="an_ended_run_says_how",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("paused_at__isnull", False), ("status", "paused")),
                    models.Q(
                        models.Q(("status", "paused"), _negated=True),
                        ("paused_at", None),
                        ("paused_until", None),
                    ),
                    _connector="OR",
                ),
                name="a_paused_run_says_since_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("paused_until", None),
                    ("paused_until__gt", models.F("paused_at")),
                    _connector="OR",
                ),
                name="a_pause_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("position__isnull", False)),
                fields=("organization", "run", "position"),
                name="each_step_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cause", ""), _negated=True),
                fields=("organization", "run", "cause"),
                name="each_cause_once",
            ),
        ),
        operations.PrivateTable("Campaign"),
        operations.PlatformTable("CampaignVersion"),
        operations.AppendOnly("CampaignVersion"),
        operations.TenantTable("Run"),
        operations.StateMachine("Run", "status", STATES),
        operations.TenantTable("Entry"),
        operations.AppendOnly("Entry"),
        migrations.RunPython(define_default, migrations.RunPython.noop),
    ]
