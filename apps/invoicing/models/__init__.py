"""The room's rows: documents, credit, what waits to be billed, and the ledger."""

from apps.invoicing.models.credit import (
    CreditGrant,
    CreditMovement,
    CreditNote,
    CreditNoteLine,
    RechargeRule,
)
from apps.invoicing.models.documents import (
    TRANSITIONS,
    Invoice,
    InvoiceDiscount,
    InvoiceLine,
    InvoiceTax,
    NumberSeries,
    Parked,
)
from apps.invoicing.models.ledger import LedgerEntry, LedgerTransaction
from apps.invoicing.models.seals import LineSeal
from apps.invoicing.models.waiting import Charge, Correction, HealingMark

__all__ = [
    "TRANSITIONS",
    "Charge",
    "Correction",
    "CreditGrant",
    "CreditMovement",
    "CreditNote",
    "CreditNoteLine",
    "HealingMark",
    "Invoice",
    "InvoiceDiscount",
    "InvoiceLine",
    "InvoiceTax",
    "LedgerEntry",
    "LedgerTransaction",
    "LineSeal",
    "NumberSeries",
    "Parked",
    "RechargeRule",
]
