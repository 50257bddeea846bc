from django.db import migrations, models
from django.db.models.functions.datetime import Now

from apps.core import operations

INDEX = """
-- Which final lines an event of some day lies under: those whose period ends after it.
CREATE INDEX metered_lines_by_end ON invoicing_invoiceline (organization_id, upper(during))
  WHERE live AND usage_epoch IS NOT NULL AND corrects_id IS NULL;
"""
NO_INDEX = "DROP INDEX metered_lines_by_end;"


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0003_credit_both_ways")]

    operations = [
        migrations.CreateModel(
            name="HealingMark",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
                ("place", models.PositiveSmallIntegerField(default=1, unique=True)),
                ("epoch", models.IntegerField()),
                ("snapshot", models.TextField()),
                ("line", models.BigIntegerField(help_text="integer id of the last line")),
                ("looked_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("place", 1)), name="one_mark_of_healing"
                    )
                ],
            },
        ),
        operations.PlatformTable("HealingMark"),
        migrations.RunSQL(INDEX, NO_INDEX),
    ]
