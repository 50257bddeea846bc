from django.db import migrations, models
from django.db.models import Q

from apps.core import operations

# An event goes when its key is kept and it is sealed, or stands in ClickHouse in a block that is
# being thinned; and never otherwise.
KEY_IS_KEPT = """EXISTS (
      SELECT FROM usage_pruned_event p
      WHERE p.organization_id = OLD.organization_id AND p.id = OLD.id)"""
SEALED = """EXISTS (
      SELECT FROM usage_seal s
      WHERE s.organization_id = OLD.organization_id AND s.until > OLD.occurred_at)"""
THINNED = """EXISTS (
      SELECT FROM usage_shipment s
      WHERE s.thinning_at IS NOT NULL AND s.occurred_until >= OLD.occurred_at)"""
TOLD = ["thinning_at", "thinned_at", "occurred_until", "last_event_id"]


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_usage_in_doubt")]

    operations = [
        migrations.AddField(
            model_name="usageshipment",
            name="thinning_at",
            field=models.DateTimeField(help_text="when its rows began to go from here", null=True),
        ),
        migrations.AddField(
            model_name="usageshipment",
            name="thinned_at",
            field=models.DateTimeField(help_text="when all had gone that may", null=True),
        ),
        migrations.AddField(
            model_name="usageshipment",
            name="occurred_until",
            field=models.DateTimeField(
                help_text="no event of this block or one before occurred later", null=True
            ),
        ),
        migrations.AddField(
            model_name="usageshipment",
            name="last_event_id",
            field=models.BigIntegerField(
                help_text="no event of this block or one before has a larger id", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="usageshipment",
            constraint=models.CheckConstraint(
                condition=Q(
                    thinning_at=None, thinned_at=None, occurred_until=None, last_event_id=None
                )
                | Q(
                    thinning_at__isnull=False,
                    occurred_until__isnull=False,
                    last_event_id__isnull=False,
                ),
                name="shipment_thinning_is_told",
            ),
        ),
        migrations.AddIndex(
            model_name="usageshipment",
            index=models.Index(
                condition=Q(thinning_at__isnull=False),
                fields=["occurred_until"],
                name="shipment_thinned",
            ),
        ),
        # Without its row nothing would say where the events are.
        operations.AppendOnly("UsageShipment", when="OLD.thinning_at IS NOT NULL", may_change=TOLD),
        operations.MayLeave(
            "Event",
            leaves=f"{KEY_IS_KEPT}\n    AND ({SEALED}\n    OR {THINNED})",
            before=f"{KEY_IS_KEPT}\n    AND {SEALED}",
        ),
    ]
