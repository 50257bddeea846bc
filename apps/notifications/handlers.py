"""Facts that somebody wants to hear of. Each may come twice: the mails carry one Message-ID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import translation

from apps.core.outbox import on
from apps.invoicing import credit, pdf
from apps.invoicing import selectors as invoicing
from apps.invoicing.document import Document
from apps.invoicing.events import CreditNoteIssued, InvoiceFinalized, InvoicePaid
from apps.invoicing.paper.words import Words
from apps.notifications import watching
from apps.notifications.mailer import Attachment, send
from apps.seats import selectors as seats
from apps.seats.events import SeatInvited
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants
from apps.tenants.events import MemberInvited
from apps.watch import selectors as watch
from apps.watch.events import AlertRaised, AnomalyFound

if TYPE_CHECKING:
    from apps.tenants.models import Organization


@on(MemberInvited)
def mail_invitation(fact: MemberInvited) -> None:
    """Send the link that takes the invitation up, unless it was withdrawn meanwhile."""
    invitation = tenants.invitation_for_mail(fact.invitation_id)
    if invitation is None:
        return
    token = tenants.invitation_token(invitation)
    send(
        "invitation",
        to=invitation.email,
        cause=fact.invitation_id,
        locale=invitation.organization.locale,
        context={
            "organization": invitation.organization.name,
            "role": invitation.get_role_display(),
            "link": f"{settings.API_BASE_URL}/portal/invitations/{token}/",
            "expires_at": invitation.expires_at,
        },
    )


@on(SeatInvited)
def mail_seat(fact: SeatInvited) -> None:
    """Send the link that claims a seat, unless it was claimed or withdrawn meanwhile."""
    seat = seats.seat_for_mail(fact.seat_id)
    if seat is None:
        return
    send(
        "seat",
        to=seat.email,
        cause=fact.seat_id,
        locale=seat.organization.locale,
        context={
            "organization": seat.organization.name,
            "application": seat.application.name,
            "link": f"{settings.API_BASE_URL}/portal/seats/claim/{seats.claim_token(seat)}/",
        },
    )


@on(InvoiceFinalized)
def mail_invoice(fact: InvoiceFinalized) -> None:
    """Send the invoice with its PDF, unless nobody is to get it or it is void by now."""
    document = invoicing.document(invoicing.get(fact.invoice_id))
    if document.status != "void":
        _mail("invoice", document, attachments=[_paper(document)])


@on(InvoicePaid)
def mail_receipt(fact: InvoicePaid) -> None:
    """Thank for the payment; an invoice of nothing is paid by itself and thanks nobody."""
    document = invoicing.document(invoicing.get(fact.invoice_id))
    if document.amount_paid > 0:
        _mail("receipt", document, attachments=[_paper(document)])


@on(CreditNoteIssued)
def mail_credit_note(fact: CreditNoteIssued) -> None:
    """Send the credit note with its PDF, and say where the money goes."""
    row = credit.get_credit_note(fact.credit_note_id)
    document = credit.credit_note_document(row)
    words = Words.of(document)
    parts = {
        "offset": row.offset_amount,
        "credited": row.credited_amount,
        "refunded": row.refunded_amount,
    }
    told = {name: words.money(minor) if minor else "" for name, minor in parts.items()}
    about = {"invoice": row.invoice.number, **told}
    _mail("credit_note", document, attachments=[_paper(document)], about=about)


@on(AlertRaised)
def mail_alert(fact: AlertRaised) -> None:
    """Tell the people who manage billing that a limit was reached."""
    alert = watch.get_alert(fact.alert_id)
    owner = tenants.organization(alert.organization_id)
    words = watching.words_for(owner, alert.currency)
    with translation.override(translation.to_language(owner.locale)):
        about = {
            "what": watching.subject_of(alert),
            "limit": watching.limit_of(alert, words),
            "sentence": watching.of_alert(alert, words),
            "until": words.date(alert.window_end) if alert.window_end else "",
            "link": f"{settings.API_BASE_URL}/portal/alerts/",
        }
    _mail_managers("alert", owner, cause=alert.public_id, about=about)


@on(AnomalyFound)
def mail_anomaly(fact: AnomalyFound) -> None:
    """Tell the people who manage billing that usage is not as usual, unless that is decided on."""
    row = watch.get_anomaly(fact.anomaly_id)
    if row.is_decided:
        return
    owner = tenants.organization(row.organization_id)
    words = watching.words_for(owner, owner.currency)
    name = watching.name_of(row.meter, subscriptions.meter_names(row.organization_id))
    with translation.override(translation.to_language(owner.locale)):
        about = {
            "meter": name,
            "sentence": watching.of_anomaly(row, words, name),
            "cause": watching.cause_of(row, words),
            "link": f"{settings.API_BASE_URL}/portal/usage/",
        }
    _mail_managers("anomaly", owner, cause=row.public_id, about=about)


def _mail_managers(
    template: str, owner: Organization, *, cause: str, about: Mapping[str, object]
) -> None:
    for person in tenants.billing_people(owner.pk):
        send(
            template,
            to=person.email,
            cause=f"{cause}.{person.public_id}",
            locale=owner.locale,
            context={"organization": owner.name, **about},
        )


def _mail(
    template: str,
    document: Document,
    *,
    attachments: list[Attachment],
    about: Mapping[str, object] | None = None,
) -> None:
    # Where it is mailed to today: an address that was corrected since must get the second try.
    organization = tenants.organization(document.organization_id)
    if organization.email:
        send(
            template,
            to=organization.email,
            cause=document.id,
            locale=document.locale,
            context={**_facts(document), **(about or {})},
            attachments=attachments,
        )


def _facts(document: Document) -> dict[str, Any]:
    words = Words.of(document)
    return {
        "number": document.number,
        "customer": document.parties["customer"]["name"],
        "issuer": document.parties["issuer"]["name"],
        "total": words.money(document.total),
        "due": words.money(document.amount_due) if document.amount_due > 0 else "",
        "due_on": words.date(document.due_at),
        "paid": words.money(document.amount_paid),
        "lines": [(line.name, words.money(line.amount)) for line in document.lines],
        "link": f"{settings.API_BASE_URL}/portal/invoices/{document.id}/",
    }


def _paper(document: Document) -> Attachment:
    return Attachment(pdf.file_name(document), pdf.render(document))
