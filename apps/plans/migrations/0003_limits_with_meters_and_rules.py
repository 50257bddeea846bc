from django.db import migrations, models

from apps.core import operations

# What counts against a limit may be named later, for features from before; then it stays.
METERS_STAY = """
CREATE FUNCTION plans_feature_keeps_its_meter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'plans_feature: the meter of row % decides a limit and never changes', OLD.id
    USING ERRCODE = '42501';
END $$;
CREATE TRIGGER keeps_its_meter BEFORE UPDATE OF meter_id ON plans_feature FOR EACH ROW
  WHEN (OLD.meter_id IS NOT NULL AND OLD.meter_id IS DISTINCT FROM NEW.meter_id)
  EXECUTE FUNCTION plans_feature_keeps_its_meter();
"""
METERS_MAY_CHANGE = """
DROP TRIGGER keeps_its_meter ON plans_feature;
DROP FUNCTION plans_feature_keeps_its_meter();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0002_coupons_taxes_and_richer_prices"),
        ("usage", "0002_voids_and_dimensions"),
    ]

    operations = [
        migrations.AddField(
            model_name="feature",
            name="meter",
            field=models.ForeignKey(
                help_text="what counts against a limit; stays once it is named",
                null=True,
                on_delete=models.deletion.PROTECT,
                related_name="+",
                to="usage.meter",
            ),
        ),
        migrations.AddConstraint(
            model_name="feature",
            constraint=models.CheckConstraint(
                condition=models.Q(("meter", None), ("kind", "limit"), _connector="OR"),
                name="only_limits_have_a_meter",
            ),
        ),
        migrations.AddField(
            model_name="entitlement",
            name="reset",
            field=models.CharField(
                choices=[
                    ("none", "Never"),
                    ("hour", "Every hour"),
                    ("day", "Every day"),
                    ("week", "Every week"),
                    ("month", "Every calendar month"),
                    ("year", "Every calendar year"),
                    ("period", "With the billing period"),
                ],
                default="period",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="entitlement",
            name="on_limit",
            field=models.CharField(
                choices=[
                    ("allow", "Allow more"),
                    ("warn", "Allow more, and warn"),
                    ("block", "Allow no more"),
                ],
                default="block",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="entitlement",
            name="prepaid",
            field=models.BooleanField(
                default=False, help_text="open as far as the organization's credit covers it"
            ),
        ),
        operations.AppendOnlyExcept(
            "Feature",
            before=["name", "description"],
            after=["name", "description", "meter_id"],
        ),
        migrations.RunSQL(METERS_STAY, METERS_MAY_CHANGE),
    ]
