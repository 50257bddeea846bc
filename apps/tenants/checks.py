"""System checks: the issuers of tokens that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.tenants import jwks
from apps.tenants.trust import CLERK, Trust


@register()
def token_issuers(**_: Any) -> list[CheckMessage]:
    """Say what is wrong with the issuers of CLERK_… and OIDC_…."""
    return [
        Error(f"{said} ({one['issuer']})", hint=hint, id=code)
        for one in settings.TOKEN_ISSUERS
        for code, said, hint in _faults(Trust(**one))
    ]


def _faults(trust: Trust) -> Iterator[tuple[str, str, str]]:
    if trust.public_key:
        try:
            jwks.key_of_pem(trust.public_key)
        except jwks.UnfitKey as error:
            yield "tenants.E001", str(error), "Set CLERK_JWT_KEY to the instance's public key."
    elif not jwks.is_fit_address(trust.jwks_url, encrypted=settings.PRODUCTION):
        hint = "Set OIDC_JWKS_URL to its https:// address."
        yield "tenants.E002", "The issuer's key set has no fit address.", hint
    if trust.kind != CLERK and not (trust.audiences or trust.parties):
        hint = "Set OIDC_AUDIENCE or OIDC_AUTHORIZED_PARTIES."
        yield "tenants.E003", "Any token of the issuer would come in.", hint
