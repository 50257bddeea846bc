"""What the pages' forms take in. Rules of the business are the services'; here only shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from zoneinfo import available_timezones

from babel import Locale
from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.validators import DecimalValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from apps.core.errors import DomainError, Forbidden
from apps.engine.money import exponent
from apps.portal import words
from apps.portal.refusals import sentence
from apps.subscriptions.changes import MAX_QUANTITY, PERIOD_END
from apps.tenants import roles
from apps.tenants.services import COUNTRIES

UNPROCESSABLE = 422
MOST_SEATS = 1_000_000
MOST_BYTES = 200_000
LOCALES = ("en", "en-GB", "de", "de-AT", "de-CH", "es", "fr", "it", "ja", "nl", "pt-BR", "sv")
KEY_LIFETIMES = (
    ("", _("Never")),
    ("30", _("In 30 days")),
    ("90", _("In 90 days")),
    ("365", _("In a year")),
)


def refuse(form: forms.Form, refusal: DomainError) -> None:
    """Show a service's refusal at the field it is about, or above the form."""
    field = refusal.param if refusal.param in form.fields else None
    form.add_error(field, sentence(refusal))


def form_page(
    request: HttpRequest, template: str, form: forms.Form, **context: object
) -> HttpResponse:
    """Show a form: 422 where something is wrong with what was sent in it."""
    status = UNPROCESSABLE if form.errors else 200
    return render(request, template, {"form": form, **context}, status=status)


@dataclass(frozen=True, slots=True)
class Refusing:
    """What a service refuses within is shown at the form; what somebody may not do is not."""

    form: forms.Form

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, refusal: BaseException | None, trace: object) -> bool:
        """Show a refusal, and swallow it."""
        if not isinstance(refusal, DomainError) or isinstance(refusal, Forbidden):
            return False
        refuse(self.form, refusal)
        return True


class HelpedForm(forms.Form):
    """A form in which a password is chosen: it says what makes a good one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = " ".join(password_validators_help_texts())


class JoinForm(HelpedForm):
    """A new person's name and password."""

    name = forms.CharField(label=_("Your name"), max_length=200)
    password = forms.CharField(
        label=_("Password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        strip=False,
    )


class StartForm(forms.Form):
    """What can be chosen of a plan: how many in total, what it is paid in, and a code.

    `quoted` is what the page said the first invoice comes to, in minor units.
    """

    quantity = forms.IntegerField(label=_("Seats in total"), min_value=0, max_value=MOST_SEATS)
    currency = forms.ChoiceField(label=_("Currency"))
    code = forms.CharField(label=_("Promotion code"), max_length=60, required=False)
    quoted = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, counts: bool, currencies: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not counts:
            del self.fields["quantity"]
        if len(currencies) < 2:
            del self.fields["currency"]
        else:
            offered: Any = self.fields["currency"]
            offered.choices = [(code, code) for code in currencies]


class ChangeForm(forms.Form):
    """From when a change counts and, where there is something to count, how many in total."""

    quantity = forms.IntegerField(
        label=_("How many in total?"), min_value=0, max_value=MOST_SEATS, required=True
    )
    when = forms.ChoiceField(
        label=_("From when?"), choices=[*words.WHEN.items()], widget=forms.RadioSelect
    )

    def __init__(self, *args: Any, counts: bool, unit: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not counts:
            del self.fields["quantity"]
        elif unit:
            self.fields["quantity"].label = gettext("%(name)s in total") % {"name": unit}

    @property
    def asked(self) -> Decimal | None:
        """What was asked for, where something is counted."""
        found = self.cleaned_data.get("quantity")
        return None if found is None else Decimal(found)


class AssignForm(forms.Form):
    """Whom a seat is for."""

    person = forms.CharField(
        label=_("Who?"),
        max_length=220,
        help_text=_("A member's e-mail, or an address to send a link to."),
    )


class GrowForm(forms.Form):
    """Up to how many seats may be bought by assigning; empty: none."""

    up_to = forms.IntegerField(
        label=_("Up to how many seats?"),
        required=False,
        min_value=1,
        max_value=MAX_QUANTITY,
        help_text=_("Empty: nothing is bought unless somebody buys it."),
    )


class BulkForm(forms.Form):
    """A file of seats to give and to take: as it is chosen, or as it was checked."""

    csv = forms.FileField(label=_("CSV file"), required=False)
    checked = forms.CharField(required=False, widget=forms.HiddenInput, strip=False)

    @property
    def text(self) -> str:
        """What the file says."""
        return str(self.cleaned_data["checked"])

    def clean(self) -> dict[str, Any]:
        """Read the chosen file; it is text in UTF-8."""
        found = super().clean() or {}
        chosen = found.get("csv")
        if chosen is not None:
            found["checked"] = _as_text(chosen.read(MOST_BYTES + 1))
        if not found.get("checked"):
            self.add_error("csv", gettext("Choose a file."))
        return found


def _as_text(raw: bytes) -> str:
    if len(raw) > MOST_BYTES:
        raise forms.ValidationError(gettext("The file is too large."))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise forms.ValidationError(gettext("The file is not text in UTF-8.")) from None


class CancelForm(forms.Form):
    """Why somebody leaves and, during a trial, when."""

    when = forms.ChoiceField(
        label=_("When?"), choices=[*words.CANCEL_WHEN.items()], widget=forms.RadioSelect
    )
    reason = forms.ChoiceField(
        label=_("What is the main reason?"), choices=[*words.CANCEL_REASONS.items()]
    )
    comment = forms.CharField(
        label=_("Anything to add?"),
        required=False,
        max_length=150,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, chooses: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["when"].initial = PERIOD_END
        if not chooses:
            del self.fields["when"]

    @property
    def chosen(self) -> str:
        """When it ends: with the period, unless there was a choice."""
        return str(self.cleaned_data.get("when", PERIOD_END))

    def told(self) -> str:
        """Return the reason and the comment as they are kept."""
        reason, comment = self.cleaned_data["reason"], self.cleaned_data["comment"].strip()
        return f"{reason}: {comment}" if comment else reason


class PauseForm(forms.Form):
    """Until when to pause; without a day until somebody resumes."""

    until = forms.DateField(
        label=_("Resume on"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("By itself, on that day. You can resume earlier, too."),
    )


class CodeForm(forms.Form):
    """A promotion code."""

    code = forms.CharField(
        label=_("Promotion code"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


def money_field(label: Any, *, required: bool = True) -> forms.DecimalField:
    """Return a field for an amount in major units, with the reader's decimal sign or a point."""
    return forms.DecimalField(
        label=label,
        required=required,
        min_value=0,
        max_digits=15,
        localize=True,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


class MoneyForm(forms.Form):
    """A form with amounts in one currency, never finer than it is."""

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency = currency
        for field in self.fields.values():
            if isinstance(field, forms.DecimalField):
                field.validators.append(DecimalValidator(15, exponent(currency)))


class AmountForm(MoneyForm):
    """Credit to buy. `once` is this form's own: what is sent twice is bought once."""

    amount = money_field(_("Amount"))
    once = forms.RegexField(r"^[0-9a-f]{32}$", widget=forms.HiddenInput)


class RechargeForm(MoneyForm):
    """When to buy credit by itself, how much, and how much at most in a month."""

    threshold = money_field(_("When less is left than"))
    amount = money_field(_("Buy"))
    monthly_cap = money_field(_("At most in a month"), required=False)


class SpendCapForm(MoneyForm):
    """How much usage may cost in a billing period, and what happens then."""

    amount = money_field(_("At most in a billing period"))
    on_limit = forms.ChoiceField(
        label=_("When it is reached"),
        choices=[("block", _("Stop usage that costs more")), ("warn", _("Warn only"))],
    )


class LicenceForm(forms.Form):
    """For which of the applications, where there are several, and for which installation."""

    application = forms.ChoiceField(label=_("Application"))
    instance = forms.CharField(
        label=_("Installation"),
        max_length=96,
        required=False,
        help_text=_("As it names itself. Without one the licence is for any."),
    )

    def __init__(self, *args: Any, applications: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(applications) > 1:
            offered: Any = self.fields["application"]
            offered.choices = applications
        else:
            del self.fields["application"]

    def wanted(self) -> dict[str, str]:
        """Return what was filled in."""
        return {name: self.cleaned_data[name] for name in self.fields}


class AlertRuleForm(forms.Form):
    """What to watch, of which meter, and up to where: percent of usage, or an amount."""

    kind = forms.ChoiceField(label=_("What to watch"), choices=[*words.ALERT_KINDS.items()])
    meter = forms.ChoiceField(
        label=_("Of which usage"), required=False, help_text=_("For percentages only.")
    )
    limit = forms.DecimalField(
        label=_("Tell me at"),
        min_value=0,
        max_digits=15,
        localize=True,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text=_("Percent, such as 50, 80 or 100; or an amount."),
    )

    def __init__(self, *args: Any, meters: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields["meter"]
        offered.choices = [("", _("Any")), *meters]


class DetailsForm(forms.Form):
    """What stands on invoices, and how the organization reads."""

    name = forms.CharField(label=_("Name"), max_length=200)
    legal_name = forms.CharField(
        label=_("Legal name"),
        required=False,
        max_length=200,
        help_text=_("As it must stand on invoices; the name above when empty."),
    )
    email = forms.EmailField(
        label=_("E-mail for invoices"), required=False, help_text=_("Invoices are sent there.")
    )
    address = forms.CharField(
        label=_("Address"), required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 4})
    )
    postcode = forms.CharField(label=_("Postcode"), required=False, max_length=20)
    city = forms.CharField(label=_("City"), required=False, max_length=100)
    region = forms.CharField(
        label=_("State or region"),
        required=False,
        max_length=60,
        help_text=_("Its code where there is one, such as CA or NY: taxes may depend on it."),
    )
    country = forms.ChoiceField(label=_("Country"))
    tax_id = forms.CharField(label=_("Tax or VAT id"), required=False, max_length=40)
    timezone = forms.ChoiceField(
        label=_("Time zone"),
        help_text=_("For times here, and for billing periods from the next subscription on."),
    )
    locale = forms.ChoiceField(
        label=_("Language and formats"), help_text=_("How amounts and dates are written.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("country", countries())
        self._offer("timezone", [(name, name) for name in sorted(available_timezones())])
        self._offer("locale", [(name, language_words(name)) for name in LOCALES])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        """Set the choices; what is chosen now stays one of them."""
        current = str(self.initial.get(name, ""))
        known = {value for value, _label in choices}
        if current and current not in known:
            choices = [(current, current), *choices]
        cast(forms.ChoiceField, self.fields[name]).choices = choices


def countries() -> list[tuple[str, str]]:
    """Return codes and names of countries, by name, in the reader's language."""
    names = Locale.parse(get_language() or "en", sep="-").territories
    return sorted(((code, names.get(code, code)) for code in COUNTRIES), key=lambda pair: pair[1])


def language_words(name: str) -> str:
    """Return a locale in its own words: Deutsch (Schweiz)."""
    return str(Locale.parse(name, sep="-").get_display_name()).capitalize()


class InviteForm(forms.Form):
    """Whom to invite, and as what."""

    email = forms.EmailField(label=_("E-mail"))
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, offered: tuple[str, ...] = roles.ROLES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast(forms.ChoiceField, self.fields["role"])
        field.choices = [(role, words.ROLES[role]) for role in offered]
        field.initial = roles.MEMBER


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(label=_("Role"), choices=[*words.ROLES.items()])


class KeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("Where it will be used, such as 'production'.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"), choices=[*words.SCOPES.items()], widget=forms.CheckboxSelectMultiple
    )
    expires = forms.ChoiceField(label=_("It expires"), choices=KEY_LIFETIMES, required=False)
