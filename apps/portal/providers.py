"""Other providers that sign people in: Google, GitHub and any issuer of OpenID Connect, by allauth.

allauth speaks OAuth 2.0 with PKCE, a state for each attempt and the providers' ways of telling
addresses. Whom an account of theirs means here, the services decide. The network is asked outside
any transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.crypto import get_random_string
from requests import RequestException

from apps.core.errors import DomainError
from apps.tenants.services import Identity


class ProviderFailed(DomainError):
    """The provider said no, was not reached, or answered something else."""

    code = "provider_failed"
    status = 502


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider as its button shows it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came back from a provider, and what the attempt had been begun with."""

    identity: Identity
    state: Mapping[str, Any]


def offered() -> list[Offer]:
    """Return the configured providers."""
    return [Offer(one["provider_id"], one["name"]) for one in settings.LOGIN_PROVIDERS]


def address(request: HttpRequest, provider_id: str, **state: str) -> str:
    """Return where to send the browser; `state` comes back with it.

    Raises Http404 for a provider that is not configured, and ProviderFailed.
    """
    provider, adapter = _provider(request, provider_id)
    challenge = provider.get_pkce_params()
    nonce = get_random_string(32)
    kept = {**state, "nonce": nonce, "verifier": challenge.pop("code_verifier", None)}
    try:
        client = adapter.get_client(request, provider.app)
        client.state = statekit.stash_state(request, provider_id=provider_id, state=kept)
        asked = {**challenge, "nonce": nonce}
        return str(client.get_redirect_url(adapter.authorize_url, provider.get_scope(), asked))
    except (OAuth2Error, RequestException, KeyError) as error:
        raise ProviderFailed(AWAY) from error


def arrival(request: HttpRequest, provider_id: str) -> Arrival:
    """Return who came back. Raises Http404 and ProviderFailed."""
    provider, adapter = _provider(request, provider_id)
    state = statekit.unstash_state(
        request, state_id=request.GET.get("state", ""), provider_id=provider_id
    )
    if state is None or "code" not in request.GET:
        raise ProviderFailed(CANCELED)
    try:
        login = _login(request, provider, adapter, state)
    except (OAuth2Error, RequestException, ValidationError, KeyError, ValueError) as error:
        raise ProviderFailed(AWAY) from error
    _refuse_swapped(login.account.extra_data, state["nonce"])
    return Arrival(_identity(provider_id, login), state)


AWAY = "The provider could not be reached, or did not say who you are; try again later."
CANCELED = "You were not signed in there; try again."


def _provider(request: HttpRequest, provider_id: str) -> tuple[OAuth2Provider, OAuth2Adapter]:
    if provider_id not in {one.id for one in offered()}:
        raise Http404
    provider = get_adapter().get_provider(request, provider_id)
    adapter = provider.get_oauth2_adapter(request)
    back = settings.API_BASE_URL + reverse("portal:provider_back", args=[provider_id])
    adapter.get_callback_url = lambda request, app: back
    return provider, adapter


def _login(
    request: HttpRequest,
    provider: OAuth2Provider,
    adapter: OAuth2Adapter,
    state: Mapping[str, Any],
) -> SocialLogin:
    client = adapter.get_client(request, provider.app)
    told = adapter.get_access_token_data(
        request, provider.app, client, pkce_code_verifier=state["verifier"]
    )
    return adapter.complete_login(request, provider.app, adapter.parse_token(told), response=told)


def _refuse_swapped(said: Mapping[str, Any], nonce: str) -> None:
    """Refuse an ID token of another attempt, and what is said of anybody but whom it names."""
    token, info = said.get("id_token"), said.get("userinfo")
    if token is None:
        return  # GitHub gives none
    if token.get("nonce") != nonce or (info and info.get("sub") != token.get("sub")):
        raise ProviderFailed(AWAY)


def _identity(provider_id: str, login: SocialLogin) -> Identity:
    """Return whom the provider means, by a verified address if it has told one."""
    told = sorted(login.email_addresses, key=lambda one: (one.verified is True, one.primary))
    best = told[-1] if told else None
    return Identity(
        provider=provider_id,
        uid=str(login.account.uid),
        email=best.email.lower() if best else "",
        is_verified=best is not None and best.verified is True,
        name=_name(login.account.extra_data),
    )


def _name(said: Mapping[str, Any]) -> str:
    about = said.get("userinfo") or said.get("id_token") or said
    return str(about.get("name") or "")[:200]
