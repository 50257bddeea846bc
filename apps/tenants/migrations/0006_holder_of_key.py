"""Who holds an API key: asked by every request of the API, so it is planned once a connection."""

from __future__ import annotations

from django.db import migrations

# One row always, of NULLs for a key that is not known; instants in microseconds since 1970.
HOLDER = """
DROP FUNCTION tenants_key_holder(text);
CREATE FUNCTION tenants_key_holder(
  wanted_hash text,
  OUT key bigint, OUT public_id text, OUT organization_id bigint, OUT name text, OUT scopes text,
  OUT expires_at bigint, OUT revoked_at bigint, OUT last_used_at bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  SELECT k.id, k.public_id, k.organization_id, k.name, k.scopes::text,
    (extract(epoch FROM k.expires_at) * 1000000)::bigint,
    (extract(epoch FROM k.revoked_at) * 1000000)::bigint,
    (extract(epoch FROM k.last_used_at) * 1000000)::bigint
  INTO key, public_id, organization_id, name, scopes, expires_at, revoked_at, last_used_at
  FROM tenants_apikey k WHERE k.hash = wanted_hash;
END $$;
"""
AS_BEFORE = """
DROP FUNCTION tenants_key_holder(text);
CREATE FUNCTION tenants_key_holder(wanted_hash text)
RETURNS TABLE (id bigint, public_id varchar, organization_id bigint, name varchar, scopes jsonb,
  expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT k.id, k.public_id, k.organization_id, k.name, k.scopes, k.expires_at, k.revoked_at,
    k.last_used_at
  FROM tenants_apikey k WHERE k.hash = wanted_hash
$$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0005_rotated_keys"),
    ]

    operations = [
        migrations.RunSQL(HOLDER, AS_BEFORE),
    ]
