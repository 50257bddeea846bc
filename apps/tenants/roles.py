"""The one matrix of who may do what; every service asks for a capability, never for a role."""

from __future__ import annotations

from collections.abc import Mapping

OWNER, BILLING_ADMIN, ADMIN, MEMBER = "OWNER", "BILLING_ADMIN", "ADMIN", "MEMBER"
ROLES = (OWNER, BILLING_ADMIN, ADMIN, MEMBER)

_member = frozenset({"use_seat", "view_usage", "view_plans", "view_subscriptions"})
_admin = _member | {
    "assign_seats", "view_seats", "invite_members", "view_members", "view_licences",
    "manage_licences",
}  # fmt: skip
_billing = _admin | {"manage_billing", "view_invoices", "view_audit", "view_organization"}
_owner = _billing | {
    "manage_organization", "manage_api_keys", "view_api_keys", "manage_roles",
}  # fmt: skip

ROLE_CAPABILITIES: Mapping[str, frozenset[str]] = {
    OWNER: _owner,
    BILLING_ADMIN: _billing,
    ADMIN: _admin,
    MEMBER: _member,
}

# What other systems call their roles, in ours: Clerk's own two, and "billing" beside them. Clerk's
# admin may do everything in his organization. A token's role never adds to what the member holds.
FOREIGN_ROLES: Mapping[str, str] = {
    "owner": OWNER,
    "admin": OWNER,
    "billing": BILLING_ADMIN,
    "billing_admin": BILLING_ADMIN,
    "member": MEMBER,
    "basic_member": MEMBER,
}

_support = frozenset({
    "view_platform", "view_usage", "view_invoices", "view_members", "view_audit", "view_licences",
})  # fmt: skip
_finance = _support | {
    "manage_billing", "record_payments", "manage_invoices", "manage_outbox", "manage_terms",
    "manage_licences",
}  # fmt: skip
_staff_admin = (
    _finance
    | _owner
    | {"manage_platform", "manage_catalog", "write_usage", "replay_usage", "manage_api_keys"}
    | {"manage_licence_terms"}
)

STAFF_CAPABILITIES: Mapping[str, frozenset[str]] = {
    "Admin": _staff_admin,
    "Finance": _finance,
    "Support": _support,
}

# What an API key's scopes allow. `write` scopes do not include `read`: least privilege.
SCOPE_CAPABILITIES: Mapping[str, frozenset[str]] = {
    "organizations:read": frozenset({"view_organization"}),
    "organizations:write": frozenset({"manage_organization"}),
    "plans:read": frozenset({"view_plans"}),
    "subscriptions:read": frozenset({"view_subscriptions"}),
    "subscriptions:write": frozenset({"manage_billing"}),
    "usage:read": frozenset({"view_usage"}),
    "usage:write": frozenset({"write_usage"}),
    "invoices:read": frozenset({"view_invoices"}),
    "invoices:write": frozenset({"write_invoices"}),
    "licences:read": frozenset({"view_licences"}),
    "licences:write": frozenset({"manage_licences"}),
    "seats:read": frozenset({"view_seats"}),
    "seats:write": frozenset({"assign_seats"}),
    "seats:verify": frozenset({"verify_seats"}),
    "members:read": frozenset({"view_members"}),
    "members:write": frozenset({"invite_members"}),
    "api_keys:read": frozenset({"view_api_keys"}),
    "api_keys:write": frozenset({"manage_api_keys"}),
}
SCOPES = tuple(SCOPE_CAPABILITIES)
# What the same scopes allow besides, when the key belongs to the platform and to no organization.
PLATFORM_CAPABILITIES: Mapping[str, frozenset[str]] = {
    "organizations:write": frozenset({"manage_platform", "manage_terms"}),
    "invoices:write": frozenset({"manage_invoices", "record_payments"}),
    "licences:write": frozenset({"manage_licence_terms"}),
    "members:write": frozenset({"manage_roles"}),
}


def capabilities_of(role: str) -> frozenset[str]:
    """Return what a member with this role may do in the organization."""
    return ROLE_CAPABILITIES[role]


def capabilities_of_staff(groups: list[str]) -> frozenset[str]:
    """Return what a staff user in these groups may do on the platform."""
    return frozenset().union(*(STAFF_CAPABILITIES.get(group, frozenset()) for group in groups))


def capabilities_of_scopes(scopes: list[str], *, platform: bool) -> frozenset[str]:
    """Return what an API key with these scopes may do, an organization's or a platform key."""
    held = [SCOPE_CAPABILITIES[scope] for scope in scopes]
    if platform:
        held += [PLATFORM_CAPABILITIES.get(scope, frozenset()) for scope in scopes]
    return frozenset().union(*held)
