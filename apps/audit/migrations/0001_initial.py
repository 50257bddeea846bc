import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

# The hash covers every fact of the entry and the hash before it. Times go in as microseconds, so
# that the session's time zone cannot change the text.
CHAIN = """
CREATE FUNCTION audit_entry_hash(previous bytea, e audit_auditentry) RETURNS bytea
LANGUAGE sql STABLE AS $$
  SELECT sha256(previous || convert_to(jsonb_build_array(
    coalesce(e.organization_id, 0), e.seq, (extract(epoch FROM e.at) * 1000000)::bigint,
    e.public_id, e.actor_kind, e.actor_id, e.actor_label, e.action, e.target,
    e.before, e.after, e.request_id)::text, 'UTF8'))
$$;
-- SECURITY DEFINER: the heads belong to the schema's owner, so nobody else can move them.
CREATE FUNCTION audit_chain_entry() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE head record; link bigint := coalesce(NEW.organization_id, 0);
BEGIN
  INSERT INTO audit_audithead (chain, seq, hash) VALUES (link, 0, ''::bytea) ON CONFLICT DO NOTHING;
  SELECT seq, hash INTO head FROM audit_audithead WHERE chain = link FOR UPDATE;
  NEW.seq := head.seq + 1;
  NEW.previous := head.hash;
  NEW.hash := audit_entry_hash(NEW.previous, NEW);
  UPDATE audit_audithead SET seq = NEW.seq, hash = NEW.hash WHERE chain = link;
  RETURN NEW;
END $$;
CREATE TRIGGER chain_entry BEFORE INSERT ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_chain_entry();
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON audit_audithead FROM billing_ops;
"""
UNCHAIN = """
DROP TRIGGER chain_entry ON audit_auditentry;
DROP FUNCTION audit_chain_entry();
DROP FUNCTION audit_entry_hash(bytea, audit_auditentry);
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("core", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("chain", models.BigIntegerField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(default=0)),
                ("hash", models.BinaryField(default=b"")),
            ],
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="aud")),
                ("organization_id", models.BigIntegerField(editable=False, null=True)),
                ("seq", models.BigIntegerField(default=0, editable=False)),
                ("at", models.DateTimeField()),
                ("actor_kind", models.CharField(max_length=20)),
                ("actor_id", models.CharField(max_length=60)),
                ("actor_label", models.CharField(max_length=200)),
                (
                    "action",
                    models.CharField(
                        help_text="room.verb, such as invoice.finalized", max_length=80
                    ),
                ),
                (
                    "target",
                    models.CharField(help_text="public id of what it was done to", max_length=60),
                ),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                ("request_id", models.CharField(blank=True, default="", max_length=64)),
                (
                    "recorded_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("previous", models.BinaryField(default=b"")),
                ("hash", models.BinaryField(default=b"")),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["organization_id", "target"], name="audit_by_target")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization_id", "seq"), name="audit_chain", nulls_distinct=False
                    )
                ],
            },
        ),
        operations.TenantTable("AuditEntry"),
        operations.AppendOnly("AuditEntry"),
        operations.PrivateTable("AuditHead"),
        migrations.RunSQL(CHAIN, UNCHAIN),
    ]
