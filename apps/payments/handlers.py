"""Facts of lower rooms that lead to something at the payment provider. Each may come twice."""

from __future__ import annotations

from apps.core import clock
from apps.core.outbox import on
from apps.invoicing import selectors as invoices
from apps.invoicing.events import (
    CreditNoteIssued,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReopened,
    InvoiceUncollectible,
    InvoiceVoided,
)
from apps.payments import services
from apps.tenants import selectors as tenants


@on(InvoiceFinalized)
def collect_invoice(fact: InvoiceFinalized) -> None:
    """Have the provider collect it, where that was agreed."""
    services.hand_over(fact.invoice_id, at=tenants.now_for(fact.organization_id, clock.now()))


@on(InvoicePaid)
def settle_there(fact: InvoicePaid) -> None:
    """Say at the provider that it was paid, if it was not paid there."""
    _look_again(fact.invoice_id)


@on(InvoiceVoided)
def void_there(fact: InvoiceVoided) -> None:
    """Take it back at the provider."""
    _look_again(fact.invoice_id)


@on(InvoiceUncollectible)
def give_up_there(fact: InvoiceUncollectible) -> None:
    """Charge it no more."""
    _look_again(fact.invoice_id)


@on(InvoiceReopened)
def ask_again_there(fact: InvoiceReopened) -> None:
    """Let the provider know that it is owed again."""
    _look_again(fact.invoice_id)


@on(CreditNoteIssued)
def pay_back(fact: CreditNoteIssued) -> None:
    """Ask for what is left, and have paid back what the note promised."""
    _look_again(fact.invoice_id)
    at = tenants.now_for(fact.organization_id, clock.now())
    services.refund_automatically(fact.credit_note_id, at=at)


def _look_again(invoice: str) -> None:
    services.look_again(invoices.get(invoice).pk)
