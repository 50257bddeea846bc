"""What allauth asks of us: how its secrets are kept, what we are called, who signs people in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from django.conf import settings

from apps.core import crypto
from apps.tenants.models import User


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc] # allauth has no types
    """Seals the secrets of authenticator apps and recovery codes, and names us to passkeys."""

    def encrypt(self, text: str) -> str:
        """Seal a secret."""
        return crypto.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Open a secret. Raises CannotOpen."""
        return crypto.opened(encrypted_text)

    def get_totp_issuer(self) -> str:
        """Return what authenticator apps call us."""
        return str(settings.BRAND_NAME)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return who passkeys are for: the host of the public address, whatever a request says."""
        host = urlsplit(settings.API_BASE_URL).hostname or "localhost"
        return {"id": host, "name": str(settings.BRAND_NAME)}

    def get_public_key_credential_user_entity(self, user: User) -> dict[str, Any]:
        """Return whom a passkey is of, by public id: it comes back when somebody signs in."""
        return {
            "id": user.public_id.encode(),
            "name": user.email,
            "display_name": user.get_full_name(),
        }


class LoginAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth has no types
    """Knows the providers that the settings name, and no others: none is kept in a table."""

    def list_apps(
        self, request: object, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """Return the configured providers, in the order of the settings."""
        apps = [SocialApp(**one) for one in settings.LOGIN_PROVIDERS]
        return [one for one in apps if provider in {None, one.provider_id, one.provider}]
