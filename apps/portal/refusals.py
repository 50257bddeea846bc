"""What a service refused, in the reader's language and without ids that say nothing to people."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from apps.core.errors import DomainError

# Sentences of the services that carry no values: found in the catalogue as they are.
FIXED = (
    gettext_noop("An organization keeps at least one owner; make somebody else owner first."),
    gettext_noop("An organization needs a name."),
    gettext_noop("A key must expire in the future."),
    gettext_noop("That moment lies in a period that has been billed."),
    gettext_noop("The subscription has ended; subscribe again."),
    gettext_noop("The subscription has ended already."),
    gettext_noop("The subscription has not started yet."),
    gettext_noop("Only a paused subscription can be resumed."),
    gettext_noop("There is no saved payment method to collect from; use manual collection."),
    gettext_noop("This person is a member already."),
    gettext_noop("This invitation link is not valid; ask for a new one."),
    gettext_noop("This invitation was used, withdrawn or has expired; ask anew."),
)
BY_CODE: Mapping[str, str | Promise] = {
    "already_subscribed": _("You have a plan for this application already; cancel that first."),
    "already_member": _(
        "This person is a member or invited already; withdraw the invitation to send another."
    ),
    "wrong_currency": _("This plan is sold in another currency than the one you pay in."),
}
INVALID: Mapping[str, str | Promise] = {
    "email": _("This is no e-mail address."),
    "quantity": _("A quantity is a whole number from 0 to 1,000,000."),
    "role": _("Choose one of the roles."),
    "scopes": _("Choose at least one scope."),
    "timezone": _("Choose one of the time zones."),
    "country": _("Choose one of the countries."),
}


def sentence(refusal: DomainError) -> str:
    """Return why it was refused; what nobody translated stands as the service said it."""
    if refusal.message in FIXED:
        return gettext(refusal.message)
    found = BY_CODE.get(refusal.code)
    if found is None and refusal.code == "invalid":
        found = INVALID.get(refusal.param)
    return refusal.message if found is None else str(found)
