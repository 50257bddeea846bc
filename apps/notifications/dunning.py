"""What is said to whoever has not paid, in the reader's language, and to staff.

These mails are part of the contract, so nobody can unsubscribe from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from apps.core import rls
from apps.core.outbox import on
from apps.dunning import selectors
from apps.dunning.events import ActionNeeded, ConsequenceCame, ReminderDue, StaffNeeded
from apps.dunning.selectors import Told
from apps.invoicing.paper.words import Words, locale_of
from apps.notifications.mailer import Rendered, render, send
from apps.tenants import selectors as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

REMINDER, TAKEN, ACTION, STAFF = (
    "dunning_reminder", "dunning_taken", "dunning_action", "dunning_staff",
)  # fmt: skip


@on(ReminderDue)
def mail_reminder(fact: ReminderDue) -> None:
    """Remind a customer, unless the invoice was paid meanwhile."""
    _mail_customer(REMINDER, fact.entry)


@on(ConsequenceCame)
def mail_consequence(fact: ConsequenceCame) -> None:
    """Say what was taken, and how it comes back, unless it has."""
    _mail_customer(TAKEN, fact.entry)


@on(ActionNeeded)
def mail_action(fact: ActionNeeded) -> None:
    """Lead a customer to where their bank asks, unless that is over."""
    _mail_customer(ACTION, fact.entry, link=fact.url)


@on(StaffNeeded)
def mail_staff(fact: StaffNeeded) -> None:
    """Ask whoever acts on money to look at a run, unless it is over."""
    told = selectors.told(fact.entry)
    if told is None:
        return
    owner = tenants.organization(told.run.organization_id)
    with rls.ops_scope("dunning: the staff to tell"):
        people = tenants.staff_who_may("manage_invoices")
    for person in people:
        context = {**context_of(told, owner, locale=person.locale), "link": _page_of(told)}
        cause = f"{fact.entry}.{person.public_id}"
        send(STAFF, to=person.email, cause=cause, locale=person.locale, context=context)


def preview(told: Told) -> Rendered:
    """Return the mail that a customer would get."""
    owner = tenants.organization(told.run.organization_id)
    template = REMINDER if told.mail else TAKEN
    return render(template, locale=owner.locale, context=context_of(told, owner))


def _mail_customer(template: str, entry: str, *, link: str = "") -> None:
    told = selectors.told(entry)
    if told is None:
        return
    owner = tenants.organization(told.run.organization_id)
    context = context_of(told, owner) | ({"link": link} if link else {})
    for address in _addresses(owner):
        cause = f"{entry}.{address}" if address != owner.email else entry
        send(template, to=address, cause=cause, locale=owner.locale, context=context)


def _addresses(owner: Organization) -> list[str]:
    """Return where invoices go, or else everybody who may pay."""
    return [owner.email] if owner.email else [p.email for p in tenants.billing_people(owner.pk)]


def context_of(told: Told, owner: Organization, *, locale: str = "") -> dict[str, object]:
    """Return what the templates of dunning say, in the organization's language or another."""
    locale = locale or owner.locale
    words = Words(locale_of(locale), ZoneInfo(owner.timezone), told.invoice.currency)
    with translation.override(translation.to_language(locale)):
        return {
            "organization": owner.name,
            "number": told.run.number,
            "due": words.money(told.invoice.amount_due),
            "mail": told.mail,
            "kind": told.kind,
            "sentence": sentence(told, words),
            "ask": ask(told),
            "coming": coming(told, words),
            "taken": taken(told),
            "note": told.note,
            "bank": _bank(told),
            "link": f"{settings.API_BASE_URL}/portal/invoices/{told.run.number}/",
        }


def sentence(told: Told, words: Words) -> str:
    """Return what is the matter."""
    said = {
        "number": told.run.number,
        "due": words.money(told.invoice.amount_due),
        "due_on": words.date(told.invoice.due_at),
    }
    if told.declined:
        return _("We could not collect %(due)s for invoice %(number)s.") % said
    if told.moment < told.invoice.due_at:
        return _("%(due)s for invoice %(number)s are due on %(due_on)s.") % said
    return _("%(due)s for invoice %(number)s were due on %(due_on)s and are not paid yet.") % said


def ask(told: Told) -> str:
    """Return what the customer is to do."""
    match told.declined:
        case "":
            return _("If you have paid meanwhile, there is nothing more to do.")
        case "retry":
            return _("The payment was declined. See that there are funds, or pay another way.")
        case "method":
            return _("The card can no longer be charged. Please give us another one.")
        case "action":
            return _("Your bank wants you to confirm the payment.")
        case _class:
            return _("The payment was declined for good. Please pay another way.")


def coming(told: Told, words: Words) -> str:
    """Return what is taken next if nothing comes, and when; empty where nothing is."""
    if told.taking is None:
        return ""
    said = {"when": words.minute(told.taking.at), "plan": told.taking.step.argument}
    match told.taking.step.action.value:
        case "unpaid":
            return _("Without payment, access ends on %(when)s.") % said
        case "cancel":
            return _("Without payment, the subscription ends on %(when)s.") % said
        case _action:
            return _("Without payment, the plan changes to '%(plan)s' on %(when)s.") % said


def taken(told: Told) -> str:
    """Return what was taken; empty where nothing was."""
    match told.kind:
        case "unpaid":
            return _("Access has ended. It comes back as soon as the invoice is paid.")
        case "cancel":
            return _("The subscription has ended. What was billed is still due.")
        case "downgrade":
            return _("The plan is '%(plan)s' from now on. What was billed is still due.") % {
                "plan": told.plan
            }
        case _kind:
            return ""


def _bank(told: Told) -> str:
    """Return where to transfer the money, for what no card pays."""
    if told.declined or told.invoice.collection != "manual":
        return ""
    return str(told.invoice.parties.get("issuer", {}).get("bank_details", ""))


def _page_of(told: Told) -> str:
    page = reverse("admin:dunning_run_change", args=[told.run.pk])
    return f"{settings.API_BASE_URL}{page}"
