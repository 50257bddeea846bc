"""What people are told about their own accounts, in the language they last signed in with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.core import clock
from apps.core.outbox import on
from apps.notifications.mailer import send
from apps.tenants import links, securing
from apps.tenants.events import (
    AccountChanged,
    AddressToProve,
    PasswordForgotten,
    SignUpRepeated,
)

if TYPE_CHECKING:
    from apps.tenants.models import User

SENTENCES: Mapping[str, Promise] = {
    "password_changed": _("Your password was changed."),
    "address_wanted": _("Another e-mail address was asked for your account."),
    "address_changed": _("The e-mail address of your account was changed."),
    "authenticator_added": _("An authenticator app was set up."),
    "authenticator_removed": _("The authenticator app was removed."),
    "passkey_added": _("A passkey was added."),
    "passkey_removed": _("A passkey was removed."),
    "recovery_codes_renewed": _("New recovery codes were made."),
    "recovery_code_used": _("A recovery code was used."),
    "second_factors_removed": _("All second factors were removed from your account."),
    "provider_connected": _("An account at another provider was connected."),
    "provider_disconnected": _("An account at another provider was disconnected."),
    "signed_out_everywhere": _("You were signed out everywhere."),
}


@on(AddressToProve)
def mail_address(fact: AddressToProve) -> None:
    """Send the link that shows that an address is theirs, to that address."""
    user = securing.get_user(fact.user)
    if user is None or (user.email_verified_at is not None and not user.email_wanted):
        return
    page = reverse("portal:prove", args=[links.address_token(user, at=clock.now())])
    _send("address", user, fact.mail, page, to=user.email_wanted or user.email)


@on(PasswordForgotten)
def mail_password(fact: PasswordForgotten) -> None:
    """Send the link to choose another password."""
    user = securing.get_user(fact.user)
    if user is not None:
        token = links.reset_token(user, at=clock.now())
        _send("password", user, fact.mail, reverse("portal:reset", args=[token]))


@on(SignUpRepeated)
def mail_known(fact: SignUpRepeated) -> None:
    """Tell somebody who signs up that they have an account."""
    user = securing.get_user(fact.user)
    if user is not None:
        _send("known", user, fact.mail, reverse("portal:login"))


@on(AccountChanged)
def mail_change(fact: AccountChanged) -> None:
    """Tell somebody what has changed about the protection of their account."""
    user = securing.get_user(fact.user)
    if user is not None:
        with translation.override(translation.to_language(user.locale)):
            sentence = str(SENTENCES[fact.what])
        _send("account", user, fact.mail, reverse("portal:security"), sentence=sentence)


def _send(
    template: str, user: User, cause: str, page: str, *, to: str = "", **context: str
) -> None:
    send(
        template,
        to=to or user.email,
        cause=cause,
        locale=user.locale,
        context={"email": user.email, "link": f"{settings.API_BASE_URL}{page}", **context},
    )
