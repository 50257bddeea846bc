"""Everything that makes, settles, corrects and ends invoices."""

from apps.invoicing.services.changing import Changed, Confirmed, change_subscription
from apps.invoicing.services.charges import (
    NewCharge,
    add_charge,
    bill_now,
    bill_waiting,
    invoice_charges,
    withdraw_charge,
)
from apps.invoicing.services.closing import mark_uncollectible, rebill_invoice, void_invoice
from apps.invoicing.services.drafts import (
    approve_invoice,
    discard_draft,
    finalize_invoice,
    hold_invoice,
    refresh_draft,
)
from apps.invoicing.services.finding import find_and_lock, lock
from apps.invoicing.services.paying import apply_payment
from apps.invoicing.services.progress import bill_thresholds
from apps.invoicing.services.reports import BillingReport, Issued
from apps.invoicing.services.run import bill_boundary, bill_due, release_parked

__all__ = [
    "BillingReport",
    "Changed",
    "Confirmed",
    "Issued",
    "NewCharge",
    "add_charge",
    "apply_payment",
    "approve_invoice",
    "bill_boundary",
    "bill_due",
    "bill_now",
    "bill_thresholds",
    "bill_waiting",
    "change_subscription",
    "discard_draft",
    "finalize_invoice",
    "find_and_lock",
    "hold_invoice",
    "invoice_charges",
    "lock",
    "mark_uncollectible",
    "rebill_invoice",
    "refresh_draft",
    "release_parked",
    "void_invoice",
    "withdraw_charge",
]
