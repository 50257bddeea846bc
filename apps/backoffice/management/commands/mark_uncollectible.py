"""`manage.py mark_uncollectible`: nobody will pay this."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.backoffice.commands import amount
from apps.invoicing import services
from apps.invoicing.models import Invoice


class Command(ActOnInvoice):
    """Give up an open invoice."""

    help = (
        "Give up an open invoice: what is due is written off. A payment that comes later is taken"
        " all the same."
    )
    examples = (
        "  manage.py mark_uncollectible CH-000003 --reason insolvent\n"
        "  manage.py mark_uncollectible CH-000003 --reason insolvent --format json"
    )
    why = "kept on the invoice"

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice:
        """Give it up."""
        return services.mark_uncollectible(reference, reason=reason, actor=self.actor, at=at)

    def told(self, row: Invoice) -> str:
        """Say what was lost."""
        return f"{row.number} is given up: {amount(row.written_off, row.currency)} is written off."
