"""Passkeys (WebAuthn): questions for the browser and judgements of its answers, by allauth's fido2.

A question comes as options for the browser and a state that the door keeps until the answer. Keys
must be discoverable and verify who uses them, so each is two factors in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal import auth as allauth_webauthn
from django.core.exceptions import ValidationError
from fido2.utils import websafe_decode
from fido2.webauthn import ResidentKeyRequirement, UserVerificationRequirement

from apps.tenants.errors import WrongCode
from apps.tenants.models import User

Answer = Mapping[str, Any]
Question = tuple[dict[str, Any], dict[str, Any]]
NOT_IT = "This passkey is not one of this account, or the browser's answer came too late."


def ask_new(user: User) -> Question:
    """Return the question for a new passkey of the user."""
    options, state = allauth_webauthn.get_server().register_begin(
        user=allauth_webauthn.build_user_payload(user),
        credentials=allauth_webauthn.get_credentials(user),
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return dict(options), state


def check_new(answer: Answer, *, state: dict[str, Any] | None) -> None:
    """Raise WrongCode unless the answer is a new passkey to the question that was asked."""
    if not state:
        raise WrongCode(NOT_IT)
    try:
        allauth_webauthn.parse_registration_response(answer)
        allauth_webauthn.get_server().register_complete(state, answer)
    except (ValueError, KeyError, TypeError, ValidationError):
        raise WrongCode(NOT_IT) from None


def ask(user: User | None = None) -> Question:
    """Return the question for one of the user's passkeys; without a user for anybody's."""
    known = [] if user is None else allauth_webauthn.get_credentials(user)
    options, state = allauth_webauthn.get_server().authenticate_begin(
        credentials=known, user_verification=UserVerificationRequirement.REQUIRED
    )
    return dict(options), state


def holder_of(answer: Answer) -> User | None:
    """Return whose passkey says that it answers; whether it does, `check` tells."""
    try:
        handle = websafe_decode(answer["response"]["userHandle"]).decode()
    except (ValueError, KeyError, TypeError):
        return None
    return User.objects.filter(public_id=handle, is_active=True).first()


def check(user: User, answer: Answer, *, state: dict[str, Any] | None) -> Authenticator:
    """Return the user's passkey that has answered the question. Raises WrongCode."""
    if not state:
        raise WrongCode(NOT_IT)
    try:
        allauth_webauthn.parse_authentication_response(answer)
        found = allauth_webauthn.get_server().authenticate_complete(
            state, allauth_webauthn.get_credentials(user), answer
        )
    except (ValueError, KeyError, TypeError, ValidationError):
        raise WrongCode(NOT_IT) from None
    passkey = allauth_webauthn.get_authenticator_by_credential_id(user, found.credential_id)
    if passkey is None:
        raise WrongCode(NOT_IT)
    return passkey
