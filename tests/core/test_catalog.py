"""What PostgreSQL itself says about isolation: no table escapes by being forgotten.

Every table is classified here. A new one fails until somebody has said what it is.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db

# Tenants read, only staff and the system write.
PLATFORM = {
    "dunning_campaignversion",
    "invoicing_healingmark",
    "invoicing_numberseries",
    "plans_coupon",
    "plans_entitlement",
    "plans_feature",
    "plans_plan",
    "plans_planversion",
    "plans_price",
    "plans_promotioncode",
    "plans_taxrate",
    "tenants_application",
    "tenants_billingentity",
    "tenants_testclock",
    "tenants_tokenissuer",
    "usage_epoch",
    "usage_meter",
    "usage_shipment",
    "watch_mark",
}
# The tenants' role has no right at all.
PRIVATE = {
    "audit_audithead",
    "dunning_campaign",
    "licensing_signing_key",
    "payments_eventcursor",
    "payments_objectlease",
    "payments_providerevent",
    "tenants_apisession",
    "tenants_refreshtoken",
}
PRIVATE_PREFIX = ("account_", "djstripe_", "mfa_", "socialaccount_", "usersessions_")
# Django's own: signing in, permissions of staff, migrations. No customer's facts are in them.
FRAMEWORK = {
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
    "tenants_user_groups",
    "tenants_user_user_permissions",
}
# Tenant tables whose organization is not in a column `organization_id`.
OTHERWISE = {
    "tenants_organization": "its own id is the organization",
    "tenants_user": "a person may belong to several; policy by membership",
}
# Unique across organizations. Such an index tells that somebody else has the value, so each needs
# a reason why nobody can ask.
GLOBAL_UNIQUE = {
    "tenants_apikey_hash_key": "the SHA-256 of a random secret",
    "one_invoice_a_number": "numbers are the issuer's, taken by a counter and never chosen",
    "one_delivery_per_handler": "the event's integer id, checked to be the same organization's",
    "billed_once_at_a_turn": "the item's integer id, checked to be the same organization's",
    "billed_once_at_a_threshold": "the item's integer id, checked to be the same organization's",
    "a_one_time_price_is_billed_once": "the item's integer id, checked to be the organization's",
    "one_credit_note_a_number": "numbers are the issuer's, taken by a counter and never chosen",
    "one_organization_per_external_id": "an application's ids; only staff map them",
    "one_checkout_a_provider_session": "the provider's id, which nobody here chooses",
    "one_collection_a_provider_invoice": "the provider's id, which nobody here chooses",
    "one_order_a_provider_refund": "the provider's id, which nobody here chooses",
    "payments_dispute_provider_id_key": "the provider's id, which nobody here chooses",
    "payments_paymentmethod_provider_id_key": "the provider's id, which nobody here chooses",
    "payments_providercustomer_provider_id_key": "the provider's id, which nobody here chooses",
    "tenants_user_email_key": "a person signs in before any organization is known",
    "tenants_organization_slug_key": "slugs are public names; only staff create organizations",
}
# Facts: rows that nobody changes or takes away.
FACTS = {
    "audit_auditentry",
    "core_outboxevent",
    "dunning_campaignversion",
    "dunning_entry",
    "invoicing_creditmovement",
    "invoicing_creditnote",
    "invoicing_creditnoteline",
    "invoicing_ledgerentry",
    "invoicing_ledgertransaction",
    "invoicing_lineseal",
    "payments_payment",
    "payments_refund",
    "subscriptions_quantitystep",
    "usage_event",
    "usage_pruned_event",
    "usage_seal",
}
FINAL_DOCUMENTS = {
    "invoicing_invoice",
    "invoicing_invoicediscount",
    "invoicing_invoiceline",
    "invoicing_invoicetax",
}
# Functions that run as the schema's owner, and why they must.
DEFINER = {
    "audit_chain_entry": "moves the head of the chain, which nobody else may",
    "invoicing_credit_balance": "checks at the commit, when no scope need be open any more",
    "invoicing_note_balance": "checks at the commit, when no scope need be open any more",
    "invoicing_take_numbers": "takes the next numbers from a counter that tenants only read",
    "seats_verify": "answers every login of every product, before a scope is open",
    "plans_redeem": "counts the use of a coupon, whose row tenants only read",
    "tenants_belongings": "a person's organizations, before one is chosen",
    "tenants_key_holder": "the holder of a key, before a scope is open",
    "usage_drop_events": "deletes sealed events, which nobody else may; staff only",
    "usage_hold_events": "locks the table of events for a new epoch; staff only",
}
MINE = "( SELECT app_organization_id() AS app_organization_id)"


def rows(query: str, *parameters: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def names(query: str, *parameters: str) -> set[str]:
    return {name for (name,) in rows(query, *parameters)}


def tables() -> set[str]:
    return names("""
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f')""")


def tenant_tables() -> set[str]:
    found = names("""
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND a.attname = 'organization_id' AND NOT a.attisdropped""")
    return found | OTHERWISE.keys()


def holders(table: str, privileges: str) -> set[str]:
    """The run-time roles that have one of the privileges on the table or one of its columns."""
    return {
        role
        for role in ("billing_app", "billing_ops", "public")
        for privilege in privileges.split(", ")
        if rows(
            "SELECT has_table_privilege(%s, %s, %s) OR "
            "(%s IN ('INSERT', 'UPDATE', 'SELECT') AND has_any_column_privilege(%s, %s, %s))",
            role, table, privilege, privilege, role, table,
            privilege if privilege in {"INSERT", "UPDATE", "SELECT"} else "SELECT",
        )[0][0]
    }  # fmt: skip


def test_every_table_is_classified() -> None:
    private = {name for name in tables() if name.startswith(PRIVATE_PREFIX)} | PRIVATE
    known = tenant_tables() | PLATFORM | private | FRAMEWORK
    assert tables() - known == set(), "say in tests/core/test_catalog.py what these tables are"
    assert known - tables() == set()


def test_row_level_security_is_forced_on_every_tenant_table() -> None:
    forced = names("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
    assert tenant_tables() - forced == set()


def test_every_tenant_table_has_exactly_its_three_policies() -> None:
    for table in tenant_tables() - {"tenants_user"}:
        column = "id" if table == "tenants_organization" else "organization_id"
        mine = f"({column} = {MINE})"
        assert policies(table) == {
            ("tenant_rows", "billing_app", "*", True, mine, mine),
            ("billing_ops_rows", "billing_ops", "*", True, "true", "true"),
            ("billing_owner_rows", "billing_owner", "*", True, "true", "true"),
        }, table


def policies(table: str) -> set[tuple[Any, ...]]:
    return set(
        rows(
            """SELECT polname, array_to_string(polroles::regrole[], ','), polcmd, polpermissive,
              pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
            FROM pg_policy WHERE polrelid = %s::regclass""",
            table,
        )
    )


def test_people_show_in_the_organizations_they_belong_to() -> None:
    tenant = next(policy for policy in policies("tenants_user") if policy[1] == "billing_app")
    assert "tenants_membership.organization_id = " + MINE in re.sub(r"\s+", " ", tenant[4])
    assert tenant[5] == f"({MINE} IS NULL)"
    assert len(policies("tenants_user")) == 3


def test_every_key_between_tenant_tables_names_the_organization() -> None:
    keys = rows("""
        SELECT k.conname, k.conrelid::regclass::text, k.confrelid::regclass::text,
          (SELECT array_agg(a.attname::text) FROM pg_attribute a
           WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),
          (SELECT array_agg(a.attname::text) FROM pg_attribute a
           WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey))
        FROM pg_constraint k WHERE k.contype = 'f'""")
    between = tenant_tables() - OTHERWISE.keys()
    plain = {
        name
        for name, table, target, columns, target_columns in keys
        if table in between
        and target in between
        and not ("organization_id" in columns and "organization_id" in target_columns)
    }
    assert plain == set()
    assert len([key for key in keys if key[1] in between and key[2] in between]) >= 10


def test_every_column_that_points_at_a_row_has_a_key_in_the_database() -> None:
    keyed = {
        (table, column)
        for table, columns in rows("""
            SELECT k.conrelid::regclass::text, (SELECT array_agg(a.attname::text)
              FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
            FROM pg_constraint k WHERE k.contype = 'f'""")
        for column in columns
    }
    pointing = {
        (table, column)
        for table, column in rows("""
            SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
              AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '%%\\_id'
              AND a.atttypid IN ('bigint'::regtype, 'integer'::regtype)""")
        if table in tenant_tables() and column != "organization_id"
    }
    # A bucket names the event that won a tie: a number for comparing, not a link.
    assert pointing - keyed - {("usage_bucket", "latest_id")} == set()


def test_unique_indexes_of_tenant_tables_lead_with_the_organization() -> None:
    found = rows("""
        SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, i.indisprimary,
          (SELECT a.attname FROM pg_attribute a
           WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]), i.indnkeyatts
        FROM pg_index i WHERE i.indisunique""")
    loose = {
        name
        for name, table, primary, first, width in found
        if table in tenant_tables()
        and not primary
        and first != "organization_id"
        and not (first == "public_id" and width == 1)
    }
    assert loose == GLOBAL_UNIQUE.keys()


@pytest.mark.parametrize("table", sorted(FACTS))
def test_nobody_may_change_or_take_away_a_fact(table: str) -> None:
    assert holders(table, "UPDATE, DELETE, TRUNCATE") == set()


@pytest.mark.parametrize("table", sorted(FACTS | FINAL_DOCUMENTS))
def test_facts_are_guarded_by_triggers_too(table: str) -> None:
    triggers = names(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'O'", table
    )
    assert {"append_only", "append_only_truncate"} <= triggers


def test_nobody_may_truncate_a_tenant_table_or_attach_triggers_to_it() -> None:
    for table in tenant_tables() | PLATFORM:
        assert holders(table, "TRUNCATE, TRIGGER, REFERENCES") == set(), table


def test_tenants_read_the_catalogue_and_do_not_write_it() -> None:
    for table in PLATFORM:
        assert "billing_app" not in holders(table, "INSERT, UPDATE, DELETE, TRUNCATE"), table


def test_private_tables_are_closed_to_tenants() -> None:
    private = {name for name in tables() if name.startswith(PRIVATE_PREFIX)} | PRIVATE
    for table in private:
        open_to = holders(table, "SELECT, INSERT, UPDATE, DELETE, TRUNCATE")
        assert "billing_app" not in open_to, table


def test_nothing_is_granted_to_everybody() -> None:
    for table in tables():
        found = holders(table, "SELECT, INSERT, UPDATE, DELETE, TRUNCATE")
        assert "public" not in found, table


def test_the_run_time_login_is_no_owner_and_no_superuser() -> None:
    assert rows("SELECT session_user, current_user") == [("billing_app", "billing_app")]
    assert (
        rows("""
        SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles
        WHERE rolname IN ('billing_app', 'billing_ops')""")
        == [(False,) * 5] * 2
    )
    owned = names("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
          AND relowner IN ('billing_app'::regrole, 'billing_ops'::regrole)""")
    assert owned == set()


def test_the_run_time_login_may_become_ops_and_inherits_nothing() -> None:
    memberships = rows("""
        SELECT roleid::regrole::text, inherit_option, set_option, admin_option
        FROM pg_auth_members WHERE member = 'billing_app'::regrole""")
    assert memberships == [("billing_ops", False, True, False)]
    assert rows("SELECT FROM pg_auth_members WHERE member = 'billing_ops'::regrole") == []


def test_functions_that_run_as_owner_are_few_and_cannot_be_misled() -> None:
    found = {
        name: settings or []
        for name, settings in rows("""
            SELECT proname, proconfig FROM pg_proc
            WHERE prosecdef AND pronamespace = 'public'::regnamespace""")
    }
    assert found.keys() == DEFINER.keys()
    for name, settings in found.items():
        # Without pg_temp at the end, a temporary table is found before the real one.
        assert settings == ["search_path=public, pg_temp"], name


def test_views_see_what_their_reader_may_see() -> None:
    views = rows("""
        SELECT relname, relkind, coalesce('security_invoker=true' = ANY (reloptions), false)
        FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace""")
    assert [name for name, kind, invoker in views if kind == "m" or not invoker] == []
