"""Everything that makes, settles, corrects and ends invoices."""

from apps.invoicing.services.beginning import Begun, subscribe_and_bill
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
from apps.invoicing.services.corrections import (
    HealingReport,
    approve_correction,
    heal_usage,
    reject_correction,
)
from apps.invoicing.services.drafts import (
    approve_invoice,
    discard_draft,
    finalize_invoice,
    hold_invoice,
    refresh_draft,
)
from apps.invoicing.services.earning import Recognized, recognize_revenue
from apps.invoicing.services.finding import find_and_lock, lock
from apps.invoicing.services.grants import (
    GrantTerms,
    expire_grants,
    expire_grants_of,
    grant_credit,
    void_grant,
)
from apps.invoicing.services.notes import NoteLine, Split, issue_credit_note, pay_out
from apps.invoicing.services.paying import PAYABLE, apply_payment, revert_payment
from apps.invoicing.services.progress import bill_thresholds
from apps.invoicing.services.recharging import buy_credit, recharge, set_recharge, stop_recharge
from apps.invoicing.services.reports import BillingReport, Issued
from apps.invoicing.services.retention import Pruned, prune_usage
from apps.invoicing.services.run import bill_boundary, bill_due, release_parked

__all__ = [
    "PAYABLE",
    "Begun",
    "BillingReport",
    "Changed",
    "Confirmed",
    "GrantTerms",
    "HealingReport",
    "Issued",
    "NewCharge",
    "NoteLine",
    "Pruned",
    "Recognized",
    "Split",
    "add_charge",
    "apply_payment",
    "approve_correction",
    "approve_invoice",
    "bill_boundary",
    "bill_due",
    "bill_now",
    "bill_thresholds",
    "bill_waiting",
    "buy_credit",
    "change_subscription",
    "discard_draft",
    "expire_grants",
    "expire_grants_of",
    "finalize_invoice",
    "find_and_lock",
    "grant_credit",
    "heal_usage",
    "hold_invoice",
    "invoice_charges",
    "issue_credit_note",
    "lock",
    "mark_uncollectible",
    "pay_out",
    "prune_usage",
    "rebill_invoice",
    "recharge",
    "recognize_revenue",
    "refresh_draft",
    "reject_correction",
    "release_parked",
    "revert_payment",
    "set_recharge",
    "stop_recharge",
    "subscribe_and_bill",
    "void_grant",
    "void_invoice",
    "withdraw_charge",
]
