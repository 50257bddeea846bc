"""`manage.py finalize_invoice`: issue a draft."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.backoffice.commands import amount
from apps.invoicing import services
from apps.invoicing.models import Invoice


class Command(ActOnInvoice):
    """Give a draft its number; from then on it never changes."""

    help = (
        "Issue a draft, grace or not: it gets its number and stays as it is. One that is held for"
        " review is issued by approve_invoice."
    )
    examples = (
        "  manage.py finalize_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr\n"
        "  manage.py finalize_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --format json"
    )

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice:
        """Issue it."""
        return services.finalize_invoice(reference, actor=self.actor, at=at)

    def told(self, row: Invoice) -> str:
        """Say its number and amount."""
        return f"{row.number} is issued: {amount(row.total, row.currency)}."
