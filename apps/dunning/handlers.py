"""What dunning does because something else happened. Facts may come twice: all is repeatable."""

from __future__ import annotations

from datetime import datetime

from apps.core import clock
from apps.core.actor import Actor, system
from apps.core.outbox import on
from apps.dunning import services
from apps.invoicing.events import (
    CreditNoteIssued,
    InvoicePaid,
    InvoiceUncollectible,
    InvoiceVoided,
)
from apps.payments.events import PaymentActionRequired, PaymentFailed, PaymentMethodChanged
from apps.tenants import selectors as tenants


@on(PaymentFailed)
def begin_after_failure(fact: PaymentFailed) -> None:
    """Begin to ask for what could not be collected, or note that it failed again."""
    services.note_failure(
        fact.invoice,
        attempt=fact.attempt,
        decline_code=fact.decline_code,
        decline_class=fact.decline_class,
        failed_at=datetime.fromisoformat(fact.at),
        actor=_actor(),
        at=_now(fact.organization_id),
    )


@on(PaymentActionRequired)
def ask_to_confirm(fact: PaymentActionRequired) -> None:
    """Tell the customer where to confirm a payment."""
    services.note_action(
        fact.invoice,
        url=fact.url,
        asked_at=datetime.fromisoformat(fact.at),
        actor=_actor(),
        at=_now(fact.organization_id),
    )


@on(PaymentMethodChanged)
def try_another_method(fact: PaymentMethodChanged) -> None:
    """Let what the old method declined be tried by the new one."""
    services.note_method(
        fact.organization_id,
        changed_at=datetime.fromisoformat(fact.at),
        actor=_actor(),
        at=_now(fact.organization_id),
    )


@on(InvoicePaid)
def settle_paid(fact: InvoicePaid) -> None:
    """Ask no more for what is paid, and give back what was taken."""
    _settle(fact.invoice_id, fact.organization_id)


@on(InvoiceVoided)
def settle_voided(fact: InvoiceVoided) -> None:
    """Ask no more for what nobody owes."""
    _settle(fact.invoice_id, fact.organization_id)


@on(InvoiceUncollectible)
def settle_given_up(fact: InvoiceUncollectible) -> None:
    """Ask no more for what was given up; what was taken stays taken until it is paid."""
    _settle(fact.invoice_id, fact.organization_id)


@on(CreditNoteIssued)
def settle_credited(fact: CreditNoteIssued) -> None:
    """Ask no more for what a credit note took off, if that was all of it."""
    _settle(fact.invoice_id, fact.organization_id)


def _settle(invoice: str, organization_id: int) -> None:
    services.settle_invoice(invoice, actor=_actor(), at=_now(organization_id))


def _actor() -> Actor:
    return system("dunning")


def _now(organization_id: int) -> datetime:
    return tenants.now_for(organization_id, clock.now())
