"""`manage.py refresh_draft`: a draft, computed anew."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.backoffice.commands import amount
from apps.invoicing import services
from apps.invoicing.models import Invoice


class Command(ActOnInvoice):
    """Compute a draft anew."""

    help = (
        "Compute a draft anew from usage, discounts and credit as they stand now. When nothing is"
        " left to be billed, the draft is gone."
    )
    examples = (
        "  manage.py refresh_draft inv_01jd0c8y5wek3t6n4b2m1x9zqr\n"
        "  manage.py refresh_draft inv_01jd0c8y5wek3t6n4b2m1x9zqr --format json"
    )
    gone = "Nothing is left to be billed; the draft is gone."

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice | None:
        """Compute it anew."""
        return services.refresh_draft(reference, actor=self.actor, at=at)

    def told(self, row: Invoice) -> str:
        """Say what it comes to now."""
        return f"{row} comes to {amount(row.total, row.currency)} now."
