"""What the pages about accounts take in. Rules are the services'; here only shapes."""

from __future__ import annotations

import json
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.portal.forms import HelpedForm, countries
from apps.tenants.services import Customer

CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CAD", "AUD", "JPY", "SEK")
LONGEST_PASSWORD = 1024
LONGEST_ANSWER = 20_000


def password_field(label: Any, *, is_new: bool = False) -> forms.CharField:
    """Return a field for a password: one that is known, or one to be chosen."""
    kind = "new-password" if is_new else "current-password"
    return forms.CharField(
        label=label,
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": kind}),
    )


def code_field(label: Any) -> forms.CharField:
    """Return a field for a code of an authenticator app, or a recovery code."""
    said = {"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"}
    return forms.CharField(label=label, max_length=40, widget=forms.TextInput(attrs=said))


class SignInForm(forms.Form):
    """E-mail and password; what was wrong with them is not said."""

    username = forms.CharField(
        label=_("E-mail"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username webauthn"}),
    )
    password = password_field(_("Password"))


class CodeForm(forms.Form):
    """A code of the authenticator app, or a recovery code."""

    code = code_field(_("Code"))


class AnswerForm(forms.Form):
    """What the browser answers for a passkey, as JSON."""

    answer = forms.CharField(max_length=LONGEST_ANSWER, widget=forms.HiddenInput)

    def clean_answer(self) -> dict[str, Any]:
        """Return the answer; it is an object."""
        try:
            found = json.loads(self.cleaned_data["answer"])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise forms.ValidationError(_("The browser has not answered."))
        return found


class PasskeyForm(AnswerForm):
    """A new passkey, and what its holder calls it."""

    name = forms.CharField(label=_("Its name"), max_length=60)


class CustomerForm(HelpedForm):
    """A new customer: a person and their organization."""

    name = forms.CharField(
        label=_("Your name"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    organization = forms.CharField(
        label=_("Organization"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    country = forms.ChoiceField(label=_("Country"))
    currency = forms.ChoiceField(
        label=_("Currency"),
        choices=[(code, code) for code in CURRENCIES],
        help_text=_("What you are billed in; it stays as it is."),
    )
    email = forms.EmailField(
        label=_("E-mail"), widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )
    password = password_field(_("Password"), is_new=True)

    def __init__(self, *args: Any, has_password: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["country"]).choices = countries()
        self.fields["country"].initial = "US"
        if not has_password:
            del self.fields["email"], self.fields["password"]

    def customer(self, language: str) -> Customer:
        """Return the organization that is wanted."""
        said = self.cleaned_data
        return Customer(
            said["organization"],
            currency=said["currency"],
            country=said["country"],
            locale=language,
        )


class AddressForm(forms.Form):
    """An e-mail address."""

    email = forms.EmailField(
        label=_("E-mail"), widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )


class NewAddressForm(forms.Form):
    """Another e-mail address for the account."""

    email = forms.EmailField(
        label=_("New e-mail"), widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class NewPasswordForm(HelpedForm):
    """Another password."""

    password = password_field(_("New password"), is_new=True)


class ConfirmForm(forms.Form):
    """The password of whoever is signed in."""

    password = password_field(_("Password"))
