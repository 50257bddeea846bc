"""The providers that people may sign in with, from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from billing_project.environment import read

GOOGLE = "https://accounts.google.com"


def login_providers() -> list[dict[str, Any]]:
    """Return each configured provider as allauth's SocialApp takes it."""
    return [*_google(), *_github(), *_oidc()]


def _google() -> Iterator[dict[str, Any]]:
    """Yield Google, which is an issuer of OpenID Connect like any other."""
    if read("LOGIN_GOOGLE_CLIENT_ID"):
        yield _issuer("google", "Google", GOOGLE, "LOGIN_GOOGLE")


def _github() -> Iterator[dict[str, Any]]:
    if read("LOGIN_GITHUB_CLIENT_ID"):
        yield {
            "provider": "github",
            "provider_id": "github",
            "name": "GitHub",
            **_credentials("LOGIN_GITHUB"),
            "settings": {"oauth_pkce_enabled": True},
        }


def _oidc() -> Iterator[dict[str, Any]]:
    if issuer := read("LOGIN_OIDC_ISSUER"):
        yield _issuer("oidc", read("LOGIN_OIDC_NAME"), issuer, "LOGIN_OIDC")


def _issuer(name: str, label: str, issuer: str, prefix: str) -> dict[str, Any]:
    return {
        "provider": "openid_connect",
        "provider_id": name,
        "name": label,
        **_credentials(prefix),
        "settings": {"server_url": issuer.rstrip("/"), "oauth_pkce_enabled": True},
    }


def _credentials(prefix: str) -> dict[str, str]:
    found = {"client_id": read(f"{prefix}_CLIENT_ID"), "secret": read(f"{prefix}_CLIENT_SECRET")}
    if not all(found.values()):
        raise ImproperlyConfigured(f"{prefix}_CLIENT_ID and {prefix}_CLIENT_SECRET go together.")
    return found
