"""The issuers of tokens that the environment names; staff enter more in the admin."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from billing_project.environment import read, read_list

KEY_SET = "/.well-known/jwks.json"


def token_issuers() -> list[dict[str, Any]]:
    """Return the terms of each issuer, as apps.tenants.trust takes them."""
    return [*_clerk(), *_oidc()]


def _clerk() -> Iterator[dict[str, Any]]:
    """Yield Clerk. A publishable key is `pk_live_` or `pk_test_` and the base64 of its host."""
    key = read("CLERK_PUBLISHABLE_KEY")
    if not key:
        if read("CLERK_JWT_KEY"):
            raise ImproperlyConfigured("CLERK_JWT_KEY needs CLERK_PUBLISHABLE_KEY too.")
        return
    issuer = f"https://{_host_of(key)}"
    yield {
        "issuer": issuer,
        "kind": "clerk",
        "jwks_url": issuer + KEY_SET,
        "public_key": read("CLERK_JWT_KEY"),
        "audiences": frozenset(read_list("CLERK_AUDIENCE")),
        "parties": frozenset(read_list("CLERK_AUTHORIZED_PARTIES")),
        "matches_email": True,
    }


def _host_of(publishable_key: str) -> str:
    body = publishable_key.rpartition("_")[2]
    try:
        host = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        host = ""
    if not host.endswith("$") or "/" in host:
        raise ImproperlyConfigured("CLERK_PUBLISHABLE_KEY is none: copy it from Clerk's dashboard.")
    return host.removesuffix("$")


def _oidc() -> Iterator[dict[str, Any]]:
    if not read("OIDC_ISSUER"):
        return
    yield {
        "issuer": read("OIDC_ISSUER"),
        "kind": "oidc",
        "jwks_url": read("OIDC_JWKS_URL"),
        "audiences": frozenset(read_list("OIDC_AUDIENCE")),
        "parties": frozenset(read_list("OIDC_AUTHORIZED_PARTIES")),
        "matches_email": True,
    }
