from datetime import UTC, datetime

from django.db import migrations, models

SET = datetime(2026, 11, 20, 22, tzinfo=UTC)
# The day, what happens, by which mail, and in which runs where not in all.
STEPS = (
    (0, "remind", "reminder", "failed"),
    (1, "remind", "reminder", "overdue"),
    (1, "past_due", "", ""),
    (2, "retry", "", "failed"),
    (3, "remind", "reminder", "failed"),
    (6, "retry", "", "failed"),
    (7, "remind", "urgent", ""),
    (13, "retry", "", "failed"),
    (14, "remind", "final", ""),
    (20, "retry", "", "failed"),
    (21, "unpaid", "", ""),
    (21, "notify_staff", "", ""),
)


def try_again(apps, schema_editor):
    """Let the default campaign collect again before it reminds, unless staff have changed it."""
    versions = apps.get_model("dunning", "CampaignVersion").objects
    versions = versions.using(schema_editor.connection.alias)
    [first, *changed] = versions.filter(campaign__name="Standard").order_by("number")
    if changed:
        return
    versions.create(
        campaign_id=first.campaign_id,
        number=2,
        name=first.name,
        hour=first.hour,
        steps=[
            {"days": days, "hours": 0, "action": action, "argument": argument, "only": only}
            for days, action, argument, only in STEPS
        ],
        set_at=SET,
        set_by="migration",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("dunning", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("remind", "Reminder"),
                    ("retry", "Another attempt"),
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
        migrations.RunPython(try_again, migrations.RunPython.noop),
    ]
