import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations


class Migration(migrations.Migration):
    dependencies = [
        ("invoicing", "0009_born_final"),
        ("payments", "0003_what_is_said_and_heard"),
        ("tenants", "0007_accounts"),
    ]

    operations = [
        migrations.AlterField(
            model_name="payment",
            name="method",
            field=models.CharField(
                choices=[
                    ("manual", "Bank transfer"),
                    ("card", "Card"),
                    ("direct_debit", "Direct debit"),
                    ("other", "Other"),
                ],
                default="manual",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="refund",
            name="method",
            field=models.CharField(
                choices=[
                    ("manual", "Bank transfer"),
                    ("card", "Card"),
                    ("direct_debit", "Direct debit"),
                    ("other", "Other"),
                ],
                default="manual",
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="col")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Being handed over"),
                            ("open", "Open at the provider"),
                            ("paid", "Paid"),
                            ("closed", "Settled otherwise"),
                            ("refused", "Cannot be collected"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True, default="", help_text="why it is refused", max_length=300
                    ),
                ),
                ("generation", models.PositiveSmallIntegerField(default=1)),
                ("provider_id", models.CharField(blank=True, default="", max_length=255)),
                ("hosted_url", models.URLField(blank=True, default="", max_length=1000)),
                ("amount", apps.core.fields.MoneyField(default=0)),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
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
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="dsp")),
                ("provider_id", models.CharField(max_length=255, unique=True)),
                ("amount", apps.core.fields.MoneyField()),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("reason", models.CharField(max_length=60)),
                ("status", models.CharField(max_length=40)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("undecided", "Undecided"), ("won", "Won"), ("lost", "Lost")],
                        default="undecided",
                        max_length=10,
                    ),
                ),
                ("evidence_due_at", models.DateTimeField(null=True)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
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
                    "payment",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="payments.payment",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="PaymentMethod",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="pmt")),
                ("provider_id", models.CharField(max_length=255, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("card", "Card"),
                            ("sepa_debit", "SEPA direct debit"),
                            ("us_bank_account", "ACH direct debit"),
                            ("bacs_debit", "Bacs direct debit"),
                            ("link", "Link"),
                            ("other", "Other"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "brand",
                    models.CharField(
                        blank=True, default="", help_text="network or bank", max_length=40
                    ),
                ),
                ("last4", models.CharField(blank=True, default="", max_length=4)),
                ("exp_month", models.PositiveSmallIntegerField(null=True)),
                ("exp_year", models.PositiveSmallIntegerField(null=True)),
                (
                    "is_default",
                    models.BooleanField(default=False, help_text="charged for what becomes due"),
                ),
                ("removed_at", models.DateTimeField(null=True)),
                ("expiry_told", models.CharField(blank=True, default="", max_length=7)),
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
                "ordering": ["-is_default", "-id"],
            },
        ),
        migrations.CreateModel(
            name="PaymentAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="pat")),
                ("number", models.PositiveSmallIntegerField(help_text="counts from 1")),
                ("amount", apps.core.fields.MoneyField()),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Asked for"),
                            ("processing", "On its way"),
                            ("action", "Waits for the customer"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("provider_id", models.CharField(blank=True, default="", max_length=255)),
                ("decline_code", models.CharField(blank=True, default="", max_length=60)),
                (
                    "decline_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("retry", "retry"),
                            ("method", "method"),
                            ("action", "action"),
                            ("never", "never"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                ("message", models.CharField(blank=True, default="", max_length=500)),
                ("action_url", models.URLField(blank=True, default="", max_length=1000)),
                ("asked_by", models.CharField(help_text="id of who asked for it", max_length=60)),
                ("asked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "collection",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="payments.collection",
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
                    "method",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="payments.paymentmethod",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="RefundOrder",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="rfo")),
                ("amount", apps.core.fields.MoneyField()),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Asked for"),
                            ("succeeded", "Paid back"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("provider_id", models.CharField(blank=True, default="", max_length=255)),
                (
                    "reason",
                    models.CharField(
                        blank=True, default="", help_text="why it failed", max_length=300
                    ),
                ),
                ("asked_by", models.CharField(max_length=60)),
                ("asked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "credit_note",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.creditnote",
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
                    "payment",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refund_orders",
                        to="payments.payment",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="CheckoutSession",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cks")),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("setup", "Save a payment method"),
                            ("payment", "Pay"),
                            ("subscription", "Subscribe"),
                        ],
                        max_length=12,
                    ),
                ),
                ("purpose", models.CharField(max_length=80)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("new", "Not opened yet"),
                            ("open", "Open"),
                            ("complete", "Complete"),
                            ("expired", "Expired"),
                        ],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("provider_id", models.CharField(blank=True, default="", max_length=255)),
                ("url", models.URLField(blank=True, default="", max_length=1000)),
                ("back", models.CharField(max_length=500)),
                ("asked_by", models.CharField(max_length=60)),
                ("asked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "invoice",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
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
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["new", "open"])),
                        fields=("organization", "purpose"),
                        name="one_open_checkout_a_purpose",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("provider_id", ""), _negated=True),
                        fields=("provider_id",),
                        name="one_checkout_a_provider_session",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at", None), ("status__in", ["new", "open"])),
                            models.Q(
                                ("ended_at__isnull", False), ("status__in", ["complete", "expired"])
                            ),
                            _connector="OR",
                        ),
                        name="a_checkout_ends_once",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="collection",
            constraint=models.UniqueConstraint(
                fields=("organization", "invoice"), name="an_invoice_is_collected_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="collection",
            constraint=models.UniqueConstraint(
                condition=models.Q(("provider_id", ""), _negated=True),
                fields=("provider_id",),
                name="one_collection_a_provider_invoice",
            ),
        ),
        migrations.AddConstraint(
            model_name="collection",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0), ("generation__gte", 1)),
                name="a_collection_asks_for_money",
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["organization"], name="disputes_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at", None), ("outcome", "undecided")),
                    models.Q(
                        models.Q(("outcome", "undecided"), _negated=True),
                        ("closed_at__gte", models.F("opened_at")),
                    ),
                    _connector="OR",
                ),
                name="a_dispute_is_decided_once",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentmethod",
            index=models.Index(fields=["organization"], name="methods_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("organization",),
                name="one_default_payment_method",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_default", False), ("removed_at", None), _connector="OR"),
                name="a_removed_method_is_not_charged",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentattempt",
            index=models.Index(fields=["provider_id"], name="attempts_by_provider_id"),
        ),
        migrations.AddConstraint(
            model_name="paymentattempt",
            constraint=models.UniqueConstraint(
                fields=("organization", "invoice", "number"), name="attempts_are_counted"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentattempt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ["pending", "processing", "action"])),
                fields=("organization", "invoice"),
                name="one_attempt_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="an_attempt_asks_for_money"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", False), ("status__in", ["succeeded", "failed"])),
                    models.Q(
                        ("ended_at", None), ("status__in", ["pending", "processing", "action"])
                    ),
                    _connector="OR",
                ),
                name="an_attempt_ends_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="refundorder",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="a_refund_order_pays_back"
            ),
        ),
        migrations.AddConstraint(
            model_name="refundorder",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "pending")),
                fields=("organization", "credit_note", "payment"),
                name="one_refund_order_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="refundorder",
            constraint=models.UniqueConstraint(
                condition=models.Q(("provider_id", ""), _negated=True),
                fields=("provider_id",),
                name="one_order_a_provider_refund",
            ),
        ),
        migrations.AddConstraint(
            model_name="refundorder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("status", "pending")),
                    models.Q(("ended_at__isnull", False), ("status__in", ["succeeded", "failed"])),
                    _connector="OR",
                ),
                name="a_refund_order_ends_once",
            ),
        ),
        operations.TenantTable("PaymentMethod"),
        operations.TenantTable("Collection"),
        operations.TenantTable("PaymentAttempt"),
        operations.TenantTable("CheckoutSession"),
        operations.TenantTable("RefundOrder"),
        operations.TenantTable("Dispute"),
        operations.StateMachine(
            "PaymentAttempt",
            "status",
            [
                ("pending", "processing"),
                ("pending", "action"),
                ("pending", "succeeded"),
                ("pending", "failed"),
                ("processing", "action"),
                ("processing", "succeeded"),
                ("processing", "failed"),
                ("action", "processing"),
                ("action", "succeeded"),
                ("action", "failed"),
            ],
        ),
        operations.StateMachine(
            "CheckoutSession",
            "status",
            [
                ("new", "open"),
                ("new", "expired"),
                ("open", "complete"),
                ("open", "expired"),
            ],
        ),
        operations.StateMachine(
            "RefundOrder", "status", [("pending", "succeeded"), ("pending", "failed")]
        ),
        operations.StateMachine(
            "Dispute", "outcome", [("undecided", "won"), ("undecided", "lost")]
        ),
    ]
