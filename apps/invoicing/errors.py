"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, NotFound


class UnknownInvoice(NotFound):
    """No invoice has this number or id."""

    code = "unknown_invoice"


class NotPayable(Conflict):
    """Drafts, void and paid invoices take no payment."""

    code = "not_payable"


class Overpayment(DomainError):
    """More than is due; refused until customer credit exists."""

    code = "overpayment"


class NotVoidable(Conflict):
    """Drafts are deleted and paid invoices credited, not voided."""

    code = "not_voidable"


class NotADraft(Conflict):
    """The invoice is final."""

    code = "not_a_draft"


class FutureBilling(DomainError):
    """Nothing is billed ahead of time."""

    code = "future_billing"
    status = 400
