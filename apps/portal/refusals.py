"""What a service refused, in the reader's language and without ids that say nothing to people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from apps.core.errors import DomainError

# Sentences of the services that carry no values: found in the catalogue as they are.
FIXED = (
    gettext_noop("An organization keeps at least one owner; make somebody else owner first."),
    gettext_noop("An organization needs a name."),
    gettext_noop("A key must expire in the future."),
    gettext_noop("This key works no longer; make a new one."),
    gettext_noop("An owner hands over to somebody who is none."),
    gettext_noop("That moment lies in a period that has been billed."),
    gettext_noop("The subscription has ended; subscribe again."),
    gettext_noop("The subscription has ended already."),
    gettext_noop("The subscription has not started yet."),
    gettext_noop("Only a paused subscription can be resumed."),
    gettext_noop("There is no saved payment method to collect from; use manual collection."),
    gettext_noop("Only a subscription that is billed can be paused."),
    gettext_noop("Only a canceled subscription can be taken up again."),
    gettext_noop("The subscription is paused; resume it first."),
    gettext_noop("The subscription is to end; take that back first."),
    gettext_noop("The subscription is to end or to pause; take that back first."),
    gettext_noop("The change has been carried out; change it back instead."),
    gettext_noop("Something has changed at this very moment; try again."),
    gettext_noop("The quantity has changed at this very moment; try again."),
    gettext_noop("It has come into force and was billed."),
    gettext_noop("A pause ends after it begins."),
    gettext_noop("This quote is more than an hour old; look at it again."),
    gettext_noop("Look at what it costs first, and confirm that."),
    gettext_noop("Credit is more than nothing."),
    gettext_noop("This purchase was billed, and its invoice is void; buy anew."),
    gettext_noop("Credit cannot have expired before it is there."),
    gettext_noop("A recharge adds credit, and its threshold is not below nothing."),
    gettext_noop("This person is a member already."),
    gettext_noop("This invitation link is not valid; ask for a new one."),
    gettext_noop("This invitation was used, withdrawn or has expired; ask anew."),
    gettext_noop("The limit is not below nothing."),
    gettext_noop("Every period reaches nothing: watch an amount."),
    gettext_noop("These licences are each for one instance; say which."),
    gettext_noop("An instance is named by 1 to 96 letters, digits and ._:@/+=- without blanks."),
    gettext_noop("There is nothing to license. The organization has no subscription."),
    gettext_noop("There is nothing to license. The plan does not include it."),
    gettext_noop("There is nothing to license. The subscription is unpaid."),
    gettext_noop("There is nothing to license. The subscription is paused."),
    gettext_noop("There is nothing to license. The subscription has ended."),
    gettext_noop("The seat is nobody's any more; assign another one."),
    gettext_noop("Nobody is waited for: the seat is claimed, or released."),
    gettext_noop("This link is not valid; ask for a new one."),
    gettext_noop("This seat was claimed or withdrawn; ask for another one."),
    gettext_noop("This code is not right, or was used before."),
    gettext_noop("This passkey is not one of this account, or the browser's answer came too late."),
    gettext_noop("Confirm your e-mail address first."),
    gettext_noop("There is an authenticator app already; remove it first."),
    gettext_noop("Ten passkeys are the most; remove one first."),
    gettext_noop("Recovery codes stand in for a second factor; set one up first."),
    gettext_noop("This link was used, is too old or was not copied whole; ask for another one."),
    gettext_noop("This is your address already."),
    gettext_noop(
        "The provider has not verified your e-mail address: confirm it there, or sign in with "
        "your password."
    ),
    gettext_noop(
        "There is an account with this address: sign in with its password, confirm the address "
        "and connect the provider on your security page."
    ),
    gettext_noop("This account is connected to somebody else's here."),
    gettext_noop("This invitation is for another e-mail address."),
    gettext_noop("The provider could not be reached, or did not say who you are; try again later."),
    gettext_noop("You were not signed in there; try again."),
    gettext_noop("The first line names the columns: person and action."),
)
# Sentences with values: the values are taken over into the translation.
FILLED = (
    gettext_noop("All %(bought)s seats of '%(item)s' are assigned: buy more, or revoke one."),
    gettext_noop("This seat is for %(email)s; sign in as that user."),
    gettext_noop(
        "%(assigned)s seats of '%(item)s' are assigned, and %(left)s would be left: revoke "
        "%(count)s first, or say which ones to release."
    ),
    gettext_noop("The subscription is %(status)s: its seats cannot be given to anybody now."),
    gettext_noop("'%(name)s' is over."),
    gettext_noop("'%(name)s' is used up or was withdrawn."),
    gettext_noop("'%(name)s' is not meant for this plan."),
    gettext_noop("'%(name)s' is not in %(currency)s."),
    gettext_noop("'%(name)s' counts already."),
    gettext_noop("'%(name)s' cannot be added to another discount."),
    gettext_noop("'%(name)s' was redeemed %(count)s times already."),
    gettext_noop("'%(name)s' is for new customers."),
    gettext_noop("'%(name)s' needs a bill of %(amount)s or more."),
    gettext_noop("There is no promotion code '%(name)s'."),
    gettext_noop("The instance %(name)s was blocked."),
    gettext_noop("Remove '%(name)s' first: it is billed by another interval than %(plan)s."),
    gettext_noop("%(name)s is billed by another interval than the subscription."),
    gettext_noop("%(name)s is not sold any more."),
    gettext_noop("From 0.01 to %(most)s percent, with two places."),
    gettext_noop("%(amount)s has more decimals than %(currency)s."),
    gettext_noop("%(most)s alert rules are the most; end one first."),
    gettext_noop("This was quoted at %(before)s and would be %(after)s by now; look at it again."),
)
BY_CODE: Mapping[str, str | Promise] = {
    "already_subscribed": _("You have a plan for this application already; cancel that first."),
    "already_member": _(
        "This person is a member or invited already; withdraw the invitation to send another."
    ),
    "wrong_credentials": _("This e-mail and password do not match an account."),
    "too_many_attempts": _("Too many attempts. Wait some minutes before the next one."),
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
    for form, pattern in PATTERNS.items():
        if told := pattern.fullmatch(refusal.message):
            return gettext(form) % told.groupdict()
    found = BY_CODE.get(refusal.code)
    if found is None and refusal.code == "invalid":
        found = INVALID.get(refusal.param)
    return refusal.message if found is None else str(found)


def _pattern(form: str) -> re.Pattern[str]:
    """Return what reads the values out of a sentence: "'%(name)s' is over."."""
    parts = re.split(r"%\((\w+)\)s", form)
    texts = [re.escape(part) for part in parts[::2]]
    groups = [f"(?P<{name}>.+)" for name in parts[1::2]]
    return re.compile("".join(a + b for a, b in zip_longest(texts, groups, fillvalue="")))


PATTERNS: Mapping[str, re.Pattern[str]] = {form: _pattern(form) for form in FILLED}
