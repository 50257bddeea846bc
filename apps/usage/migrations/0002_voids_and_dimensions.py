import django.db.models.deletion
from django.db import migrations, models

import apps.core.fields
import apps.usage.columns

# The digest of an event that voids another covers which one; that of others is as it was.
# A dimension's value as a text that always fits an index: long ones by their hash.
# The slice that an event is in: a flat object of all the paths, null where there is no plain value.
# Whether a slice passes a filter: every included dimension has one of the values, and no excluded
# combination applies as a whole. A missing value is none of them.
FUNCTIONS = r"""
CREATE FUNCTION usage_event_digest(
  organization_id bigint, source text, key text, type text, occurred_at timestamptz,
  received_at timestamptz, data jsonb, voids bigint
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN voids IS NULL
    THEN usage_event_digest(organization_id, source, key, type, occurred_at, received_at, data)
    ELSE sha256(convert_to(
      organization_id::text
      || ',' || octet_length(source)::text || ',' || source
      || ',' || octet_length(key)::text || ',' || key
      || ',' || octet_length(type)::text || ',' || type
      || ',' || (extract(epoch FROM occurred_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint::text
      || ',' || (extract(epoch FROM received_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint::text
      || ',' || data::text || ',' || voids::text, 'UTF8'))
  END
$$;

CREATE FUNCTION usage_dimension(value jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(value) IN ('string', 'number', 'boolean') THEN
    CASE WHEN octet_length(value #>> '{}') <= 100 THEN value #>> '{}'
      ELSE 'sha256:' || encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex')
    END
  END
$$;

CREATE FUNCTION usage_slice(data jsonb, paths text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  found jsonb := '{}';
  path text;
BEGIN
  FOREACH path IN ARRAY paths LOOP
    found := found || jsonb_build_object(
      path, usage_dimension(data #> string_to_array(path, '.')));
  END LOOP;
  RETURN found;
END $$;

CREATE FUNCTION usage_filter_paths(filter jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ARRAY(
    SELECT jsonb_object_keys(filter -> 'include')
    UNION
    SELECT jsonb_object_keys(combination) FROM jsonb_array_elements(filter -> 'exclude') combination)
$$;

CREATE FUNCTION usage_matches(slice jsonb, filter jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  path text;
  allowed jsonb;
  combination jsonb;
  applies boolean;
BEGIN
  FOR path, allowed IN SELECT * FROM jsonb_each(filter -> 'include') LOOP
    IF (allowed ? (slice ->> path)) IS NOT TRUE THEN
      RETURN false;
    END IF;
  END LOOP;
  FOR combination IN SELECT jsonb_array_elements(filter -> 'exclude') LOOP
    applies := true;
    FOR path, allowed IN SELECT * FROM jsonb_each(combination) LOOP
      applies := applies AND (allowed ? (slice ->> path)) IS TRUE;
    END LOOP;
    IF applies THEN
      RETURN false;
    END IF;
  END LOOP;
  RETURN true;
END $$;
"""
NO_FUNCTIONS = """
DROP FUNCTION usage_matches(jsonb, jsonb);
DROP FUNCTION usage_filter_paths(jsonb);
DROP FUNCTION usage_slice(jsonb, text[]);
DROP FUNCTION usage_dimension(jsonb);
DROP FUNCTION usage_event_digest(bigint, text, text, text, timestamptz, timestamptz, jsonb, bigint);
"""
# Sums can be taken from, maxima cannot: they are kept for the meters that read them only.
ONLY_WHAT_IS_READ = """
UPDATE usage_bucket b SET maximum = NULL FROM usage_meter m
WHERE m.id = b.meter_id AND m.aggregation <> 'max' AND b.maximum IS NOT NULL
"""
VOIDS_OF_THE_SAME_ORGANIZATION = """
ALTER TABLE usage_event ADD CONSTRAINT usage_event_voids_id_tenant_fk
FOREIGN KEY (organization_id, voids_id) REFERENCES usage_event (organization_id, id)
DEFERRABLE INITIALLY DEFERRED
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.RunSQL(ONLY_WHAT_IS_READ, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="event",
            name="voids",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="the event that it takes back",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="usage.event",
            ),
        ),
        migrations.RunSQL(
            VOIDS_OF_THE_SAME_ORGANIZATION,
            "ALTER TABLE usage_event DROP CONSTRAINT usage_event_voids_id_tenant_fk",
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(
                condition=models.Q(("voids__isnull", False)),
                fields=("organization", "voids"),
                name="event_voided_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(("voids__lt", models.F("id"))),
                name="event_voids_an_earlier",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("type", "usage.void"), _negated=True),
                    ("voids__isnull", False),
                    _connector="OR",
                ),
                name="event_void_names_another",
            ),
        ),
        migrations.AddField(
            model_name="meter",
            name="dimensions",
            field=models.JSONField(
                blank=True, default=list, help_text="keys of the data that buckets are kept by"
            ),
        ),
        migrations.AddField(
            model_name="meter",
            name="filter",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="which events it counts: include and exclude",
            ),
        ),
        migrations.AlterField(
            model_name="meter",
            name="aggregation",
            field=models.CharField(
                choices=[
                    ("count", "Number of events"),
                    ("sum", "Sum of the values"),
                    ("max", "Largest value"),
                    ("min", "Smallest value"),
                    ("avg", "Mean of the values"),
                    ("unique_count", "Number of different values"),
                    ("latest", "Last value"),
                    ("weighted_sum", "Mean level over time"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="usagebucket",
            name="minimum",
            field=apps.core.fields.QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="usagebucket",
            name="moment",
            field=apps.usage.columns.TotalField(
                default=0, help_text="sum of value x microseconds since the hour began"
            ),
        ),
        migrations.RemoveConstraint(model_name="usagebucket", name="bucket_once"),
        migrations.AddField(
            model_name="usagebucket",
            name="slice",
            field=models.JSONField(default=dict, help_text="the value of each dimension"),
        ),
        migrations.AddConstraint(
            model_name="usagebucket",
            constraint=models.UniqueConstraint(
                fields=("organization", "meter", "hour", "slice"), name="bucket_once"
            ),
        ),
    ]
