"""`manage.py approve_invoice`: a held draft is right after all."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.backoffice.commands import amount
from apps.invoicing import services
from apps.invoicing.models import Invoice


class Command(ActOnInvoice):
    """Approve a held draft and issue it."""

    help = (
        "Approve a draft that is held for review, and issue it. bill_due says which are held and"
        " why; finalize_invoice issues those that are not."
    )
    examples = (
        "  manage.py approve_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason 'agreed by phone'\n"
        "  manage.py approve_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason checked --format json"
    )
    why = "kept with the approval"

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice:
        """Approve it."""
        return services.approve_invoice(reference, reason=reason, actor=self.actor, at=at)

    def told(self, row: Invoice) -> str:
        """Say its number and amount."""
        return f"{row.number} is approved and issued: {amount(row.total, row.currency)}."
