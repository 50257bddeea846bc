import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import apps.core.fields
from apps.core import operations
from apps.core.ids import new_id

# Signing in happens before any scope is open; inside a tenant's scope only its members show.
USERS = """
ALTER TABLE tenants_user ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants_user FORCE ROW LEVEL SECURITY;
CREATE POLICY users_of_the_scope ON tenants_user TO billing_app USING (
  (SELECT app_organization_id()) IS NULL OR id IN (
    SELECT user_id FROM tenants_membership WHERE organization_id = (SELECT app_organization_id())
  )
) WITH CHECK ((SELECT app_organization_id()) IS NULL);
CREATE POLICY billing_ops_rows ON tenants_user TO billing_ops USING (true) WITH CHECK (true);
CREATE POLICY billing_owner_rows ON tenants_user TO billing_owner USING (true) WITH CHECK (true);
"""
NO_USERS = """
DROP POLICY users_of_the_scope ON tenants_user;
DROP POLICY billing_ops_rows ON tenants_user;
DROP POLICY billing_owner_rows ON tenants_user;
ALTER TABLE tenants_user DISABLE ROW LEVEL SECURITY;
"""

# What a door must know before it can choose a scope. SECURITY DEFINER, with the narrowest answers:
# a user's own organizations, and the holder of a key whose hash the caller can present.
BEFORE_A_SCOPE = """
CREATE FUNCTION tenants_belongings(wanted_user bigint)
RETURNS TABLE (organization_id bigint, public_id varchar, slug varchar, name varchar, role varchar)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT o.id, o.public_id, o.slug, o.name, m.role
  FROM tenants_membership m JOIN tenants_organization o ON o.id = m.organization_id
  WHERE m.user_id = wanted_user ORDER BY o.name, o.id
$$;
CREATE FUNCTION tenants_key_holder(wanted_hash text)
RETURNS TABLE (id bigint, public_id varchar, organization_id bigint, name varchar, scopes jsonb,
  expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT k.id, k.public_id, k.organization_id, k.name, k.scopes, k.expires_at, k.revoked_at,
    k.last_used_at
  FROM tenants_apikey k WHERE k.hash = wanted_hash
$$;
"""
NOTHING_BEFORE_A_SCOPE = """
DROP FUNCTION tenants_belongings(bigint);
DROP FUNCTION tenants_key_holder(text);
"""


def create_first_rows(apps, schema_editor):
    """The first issuer of invoices, to be completed in the admin, and the groups of staff."""
    owner = schema_editor.connection.alias
    apps.get_model("tenants", "BillingEntity").objects.using(owner).create(
        public_id=new_id("be"), slug="default", legal_name="Countinghouse", invoice_prefix="CH"
    )
    groups = apps.get_model("auth", "Group").objects.using(owner)
    for name in ("Admin", "Finance", "Support"):
        groups.create(name=name)


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("audit", "0001_initial"),
        ("core", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Application",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="app")),
                ("slug", models.SlugField(db_collation="C", unique=True)),
                ("name", models.CharField(max_length=200)),
                ("industry", models.CharField(blank=True, default="", max_length=40)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="BillingEntity",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="be")),
                ("slug", models.SlugField(unique=True)),
                ("legal_name", models.CharField(max_length=200)),
                ("address", models.TextField(blank=True, default="")),
                ("country", models.CharField(blank=True, default="", max_length=2)),
                ("tax_id", models.CharField(blank=True, default="", max_length=40)),
                ("email", models.EmailField(blank=True, default="", max_length=254)),
                (
                    "invoice_prefix",
                    models.CharField(
                        db_collation="C",
                        help_text="starts every number it issues",
                        max_length=12,
                        unique=True,
                    ),
                ),
                ("payment_terms_days", models.PositiveSmallIntegerField(default=14)),
                ("bank_details", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name_plural": "billing entities",
            },
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("password", models.CharField(max_length=128, verbose_name="password")),
                (
                    "last_login",
                    models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                ),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="usr")),
                ("email", models.EmailField(max_length=254, unique=True)),
                ("name", models.CharField(blank=True, default="", max_length=200)),
                ("is_staff", models.BooleanField(default=False)),
                ("is_active", models.BooleanField(default=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Organization",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="org")),
                ("slug", models.SlugField(db_collation="C", max_length=63, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("legal_name", models.CharField(blank=True, default="", max_length=200)),
                (
                    "email",
                    models.EmailField(
                        blank=True,
                        default="",
                        help_text="where invoices are mailed",
                        max_length=254,
                    ),
                ),
                ("address", models.TextField(blank=True, default="")),
                ("country", models.CharField(default="US", help_text="ISO 3166-1", max_length=2)),
                ("tax_id", models.CharField(blank=True, default="", max_length=40)),
                ("currency", apps.core.fields.CurrencyField(default="USD", max_length=3)),
                ("timezone", models.CharField(default="UTC", max_length=64)),
                ("locale", models.CharField(default="en", max_length=20)),
                ("industry", models.CharField(blank=True, default="", max_length=40)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "billing_entity",
                    models.ForeignKey(
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
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="key")),
                ("name", models.CharField(max_length=100)),
                (
                    "prefix",
                    models.CharField(
                        help_text="the start of the key, to recognise it by", max_length=20
                    ),
                ),
                ("hash", models.CharField(db_collation="C", max_length=64, unique=True)),
                ("scopes", models.JSONField(default=list)),
                ("expires_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="mem")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("OWNER", "Owner"),
                            ("BILLING_ADMIN", "Billing admin"),
                            ("ADMIN", "Admin"),
                            ("MEMBER", "Member"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "user"), name="one_role_per_member"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="invt")),
                ("email", models.EmailField(max_length=254)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("OWNER", "Owner"),
                            ("BILLING_ADMIN", "Billing admin"),
                            ("ADMIN", "Admin"),
                            ("MEMBER", "Member"),
                        ],
                        max_length=20,
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
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
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        fields=("organization", "email"),
                        name="one_open_invitation",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ExternalId",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ext")),
                (
                    "kind",
                    models.CharField(
                        choices=[("organization", "Organization"), ("user", "User")], max_length=20
                    ),
                ),
                ("external_id", models.CharField(db_collation="C", max_length=200)),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.application",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "organization")),
                        fields=("application", "external_id"),
                        name="one_organization_per_external_id",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "user")),
                        fields=("organization", "application", "external_id"),
                        name="one_user_per_external_id",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "organization"), ("user", None)),
                            models.Q(("kind", "user"), ("user__isnull", False)),
                            _connector="OR",
                        ),
                        name="external_id_has_its_target",
                    ),
                ],
            },
        ),
        operations.PlatformTable("BillingEntity"),
        operations.PlatformTable("Application"),
        operations.TenantTable("Organization", column="id"),
        operations.TenantTable("ApiKey"),
        operations.TenantTable("Membership"),
        operations.TenantTable("Invitation"),
        operations.TenantTable("ExternalId"),
        migrations.RunSQL(USERS, NO_USERS),
        migrations.RunSQL(BEFORE_A_SCOPE, NOTHING_BEFORE_A_SCOPE),
        migrations.RunPython(create_first_rows, migrations.RunPython.noop),
    ]
