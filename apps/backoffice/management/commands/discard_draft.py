"""`manage.py discard_draft`: a draft that should not be."""

from __future__ import annotations

from datetime import datetime

from apps.backoffice.acting import ActOnInvoice
from apps.backoffice.printing import waiting_again
from apps.invoicing import selectors, services


class Command(ActOnInvoice):
    """Throw a draft away."""

    help = (
        "Throw a draft away. Its period is not billed by itself again: what it billed waits for the"
        " next invoice, or for bill_now. Single charges are named; withdraw_charge takes one back."
    )
    examples = (
        "  manage.py discard_draft inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason 'billed elsewhere'\n"
        "  manage.py discard_draft inv_01jd0c8y5wek3t6n4b2m1x9zqr --reason duplicate --format json"
    )
    why = "kept in the record"
    gone = "The draft is gone."

    def act(self, reference: str, *, at: datetime, reason: str) -> None:
        """Throw it away; none is left."""
        row = selectors.get(reference)
        charges = waiting_again(row, selectors.charges_on(row))
        services.discard_draft(reference, reason=reason, actor=self.actor, at=at)
        self.gone = " ".join([self.gone, *charges])
