"""`manage.py hold_invoice`: a draft waits for somebody."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.invoicing import services
from apps.invoicing.models import Invoice


class Command(ActOnInvoice):
    """Hold a draft for review."""

    help = "Hold a draft until somebody approves it: no run issues it, whatever its grace."
    examples = (
        "  manage.py hold_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason 'usage looks wrong'\n"
        "  manage.py hold_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason disputed --format json"
    )
    why = "shown to whoever reviews it"

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice:
        """Hold it."""
        return services.hold_invoice(reference, reason=reason, actor=self.actor, at=at)

    def told(self, row: Invoice) -> str:
        """Say who can let it go."""
        return f"{row} waits; approve_invoice issues it."
