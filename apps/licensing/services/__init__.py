"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.licensing.services.issuing import current_license, issue_license, review_licenses
from apps.licensing.services.joining import TRIAL, NewCustomer, SignedUp, sign_up
from apps.licensing.services.keys import (
    adopt_signing_key,
    generate_signing_key,
    published_keys,
    reseal_signing_keys,
    rotate_signing_key,
    sign_revocations,
)
from apps.licensing.services.revoking import (
    block_instance,
    revoke_all_licenses,
    revoke_license,
    unblock_instance,
)
from apps.licensing.services.terms import clear_license_terms, set_license_terms

__all__ = [
    "TRIAL",
    "NewCustomer",
    "SignedUp",
    "adopt_signing_key",
    "block_instance",
    "clear_license_terms",
    "current_license",
    "generate_signing_key",
    "issue_license",
    "published_keys",
    "reseal_signing_keys",
    "review_licenses",
    "revoke_all_licenses",
    "revoke_license",
    "rotate_signing_key",
    "set_license_terms",
    "sign_revocations",
    "sign_up",
    "unblock_instance",
]
