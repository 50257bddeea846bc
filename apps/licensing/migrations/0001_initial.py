import datetime

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("subscriptions", "0002_phases_changes_and_discounts"),
        ("tenants", "0002_issuers_tax_and_test_clocks"),
    ]

    operations = [
        migrations.CreateModel(
            name="Instance",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ins")),
                (
                    "name",
                    models.CharField(
                        db_collation="C", help_text="as it names itself", max_length=96
                    ),
                ),
                ("first_seen_at", models.DateTimeField()),
                (
                    "last_seen_at",
                    models.DateTimeField(help_text="when it last asked for a licence, by the hour"),
                ),
                ("blocked_at", models.DateTimeField(null=True)),
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
                "db_table": "licensing_instance",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="LicenseTerms",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="lt")),
                ("lifetime_days", models.PositiveSmallIntegerField()),
                ("grace_days", models.PositiveSmallIntegerField()),
                ("bound", models.BooleanField(default=False, help_text="each is for one instance")),
                ("set_at", models.DateTimeField()),
                ("set_by", models.CharField(max_length=200)),
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
                "verbose_name_plural": "licence terms",
                "db_table": "licensing_terms",
            },
        ),
        migrations.CreateModel(
            name="SigningKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "kid",
                    models.CharField(
                        db_collation="C",
                        help_text="RFC 7638 thumbprint",
                        max_length=64,
                        unique=True,
                    ),
                ),
                (
                    "algorithm",
                    models.CharField(
                        choices=[("RS256", "RS256 (RSA)"), ("EdDSA", "EdDSA (Ed25519)")],
                        max_length=5,
                    ),
                ),
                ("public_pem", models.TextField()),
                ("sealed_private_pem", models.TextField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("next", "Published, signs next"),
                            ("signing", "Signs"),
                            ("retired", "Signs no more"),
                            ("withdrawn", "Not to be trusted"),
                        ],
                        max_length=9,
                    ),
                ),
                ("made_at", models.DateTimeField()),
                ("signs_from", models.DateTimeField(null=True)),
                ("retired_at", models.DateTimeField(null=True)),
                (
                    "published_until",
                    models.DateTimeField(help_text="when all it signed has ended", null=True),
                ),
            ],
            options={
                "db_table": "licensing_signing_key",
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "signing")),
                        fields=("status",),
                        name="one_key_signs",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "next")),
                        fields=("status",),
                        name="one_key_is_next",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="License",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="lic")),
                ("plan", models.CharField(help_text="its code", max_length=64)),
                ("claims", models.JSONField()),
                ("token", models.TextField()),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "superseded_at",
                    models.DateTimeField(help_text="when another took its place", null=True),
                ),
                ("revoked_at", models.DateTimeField(null=True)),
                ("revoked_because", models.CharField(blank=True, default="", max_length=200)),
                ("revoked_by", models.CharField(blank=True, default="", max_length=200)),
                (
                    "instance",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="licensing.instance",
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
                    "subscription",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="subscriptions.subscription",
                    ),
                ),
                (
                    "key",
                    models.ForeignKey(
                        db_column="kid",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="licensing.signingkey",
                        to_field="kid",
                    ),
                ),
            ],
            options={
                "db_table": "licensing_license",
                "ordering": ["-id"],
            },
        ),
        migrations.AddConstraint(
            model_name="instance",
            constraint=models.UniqueConstraint(
                fields=("organization", "name"), name="one_instance_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="licenseterms",
            constraint=models.UniqueConstraint(fields=("organization",), name="one_licence_terms"),
        ),
        migrations.AddConstraint(
            model_name="licenseterms",
            constraint=models.CheckConstraint(
                condition=models.Q(("grace_days__lte", 90), ("lifetime_days__range", (1, 366))),
                name="licence_terms_are_bounded",
            ),
        ),
        migrations.AddIndex(
            model_name="license",
            index=models.Index(fields=["organization", "-id"], name="licences_latest"),
        ),
        migrations.AddIndex(
            model_name="license",
            index=models.Index(
                condition=models.Q(("revoked_at__isnull", False)),
                fields=["ends_at"],
                name="licences_revoked",
            ),
        ),
        migrations.AddConstraint(
            model_name="license",
            constraint=models.UniqueConstraint(
                condition=models.Q(("revoked_at", None), ("superseded_at", None)),
                fields=("organization", "subscription", "instance"),
                name="one_current_licence",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="license",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "ends_at__lt",
                        datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC),
                    ),
                    ("expires_at__lte", models.F("ends_at")),
                    (
                        "issued_at__gte",
                        datetime.datetime(2000, 1, 1, 0, 0, tzinfo=datetime.UTC),
                    ),
                    ("issued_at__lt", models.F("expires_at")),
                ),
                name="licence_times_in_order",
            ),
        ),
        operations.PrivateTable("SigningKey"),
        operations.TenantTable("LicenseTerms"),
        operations.TenantTable("Instance"),
        operations.TenantTable("License"),
        operations.AppendOnly(
            "License",
            may_change=["superseded_at", "revoked_at", "revoked_because", "revoked_by"],
        ),
    ]
