"""What the pages say about an invoice that is not paid: what is the matter, and what comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from apps.core.actor import Actor
from apps.dunning import selectors as dunning
from apps.dunning.selectors import Coming
from apps.engine.dunning import Action
from apps.notifications import dunning as mails
from apps.portal.formats import Formats

if TYPE_CHECKING:
    from datetime import datetime

    from apps.invoicing.models import Invoice
    from apps.tenants.models import Organization

SHOWN = (Action.REMIND, Action.PAST_DUE, Action.UNPAID, Action.CANCEL, Action.DOWNGRADE)


@dataclass(frozen=True, slots=True)
class Notice:
    """What stands above every page: sentences, and (for who sees invoices) which one to pay."""

    is_unpaid: bool
    sentences: tuple[str, ...]
    number: str


def notice(
    organization: Organization, actor: Actor, formats: Formats, at: datetime
) -> Notice | None:
    """Return what a member has to know of what is not paid; None where nothing has come of it."""
    told = dunning.notice(organization.pk, at=at)
    if told is None:
        return None
    words = formats.words(told.invoice.currency)
    said: tuple[str, ...] = (mails.sentence(told, words), mails.ask(told), mails.taken(told))
    if not actor.may("view_invoices"):
        said = (_("An invoice is not paid: whoever manages billing can pay it."),)
    coming = mails.coming(told, words)
    return Notice(
        told.kind == "unpaid",
        tuple(text for text in (*said, coming) if text),
        told.run.number if actor.may("view_invoices") else "",
    )


def ahead(invoice: Invoice, formats: Formats) -> list[str]:
    """Return what comes next for an invoice that is not paid, and what would be taken."""
    run = dunning.run_of(invoice.organization_id, invoice.pk)
    if run is None or not run.is_open:
        return []
    if run.status == "paused":
        if run.paused_until is None:
            return [_("No reminder comes for now.")]
        day = formats.day(run.paused_until)
        return [_("No reminder comes before %(when)s.") % {"when": day}]
    coming = [one for one in dunning.ahead(run) if one.step.action in SHOWN]
    taking = dunning.taking(coming)
    chosen = [*coming[:1], *([taking] if taking else [])]
    return list(dict.fromkeys(_said(one, formats) for one in chosen))


def _said(one: Coming, formats: Formats) -> str:
    said = {"when": formats.moment(one.at), "plan": one.step.argument}
    match one.step.action:
        case Action.REMIND:
            text = _("%(when)s: a reminder by e-mail")
        case Action.PAST_DUE:
            text = _("%(when)s: the subscription is past due; access stays")
        case Action.UNPAID:
            text = _("%(when)s: access ends")
        case Action.CANCEL:
            text = _("%(when)s: the subscription ends")
        case _action:
            text = _("%(when)s: the plan changes to '%(plan)s'")
    return text % said
