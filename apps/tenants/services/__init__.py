"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.tenants.services.checks import COUNTRIES, check_email
from apps.tenants.services.clocks import attach_test_clock, create_test_clock, set_test_clock
from apps.tenants.services.external_ids import map_external_id, map_external_user
from apps.tenants.services.issuers import change_billing_entity, define_billing_entity
from apps.tenants.services.keys import (
    LAST_USED_GRAIN,
    OVERLAP,
    NewKey,
    create_api_key,
    note_key_use,
    revoke_api_key,
    rotate_api_key,
)
from apps.tenants.services.organizations import (
    change_billing_terms,
    create_organization,
    define_application,
    free_slug,
    hold,
    lock,
    lock_free,
    update_organization,
)
from apps.tenants.services.people import (
    accept_invitation,
    add_member,
    admit,
    change_password,
    change_role,
    create_user,
    invite_member,
    remove_member,
    resend_invitation,
    revoke_invitation,
    transfer_ownership,
)
from apps.tenants.services.sessions import (
    Customer,
    SignedIn,
    refresh,
    register,
    sign_in,
    sign_out,
    sign_out_everywhere,
)
from apps.tenants.services.tax_ids import (
    TaxIdChecks,
    recheck_tax_id,
    verify_tax_id,
    verify_tax_ids,
)
from apps.tenants.services.token_issuers import (
    IssuerTerms,
    define_token_issuer,
    disable_token_issuer,
)

__all__ = [
    "COUNTRIES",
    "LAST_USED_GRAIN",
    "OVERLAP",
    "Customer",
    "IssuerTerms",
    "NewKey",
    "SignedIn",
    "TaxIdChecks",
    "accept_invitation",
    "add_member",
    "admit",
    "attach_test_clock",
    "change_billing_entity",
    "change_billing_terms",
    "change_password",
    "change_role",
    "check_email",
    "create_api_key",
    "create_organization",
    "create_test_clock",
    "create_user",
    "define_application",
    "define_billing_entity",
    "define_token_issuer",
    "disable_token_issuer",
    "free_slug",
    "hold",
    "invite_member",
    "lock",
    "lock_free",
    "map_external_id",
    "map_external_user",
    "note_key_use",
    "recheck_tax_id",
    "refresh",
    "register",
    "remove_member",
    "resend_invitation",
    "revoke_api_key",
    "revoke_invitation",
    "rotate_api_key",
    "set_test_clock",
    "sign_in",
    "sign_out",
    "sign_out_everywhere",
    "transfer_ownership",
    "update_organization",
    "verify_tax_id",
    "verify_tax_ids",
]
