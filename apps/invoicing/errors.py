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
    """More than is due, and nobody said to keep the rest as credit."""

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


class HeldForReview(Conflict):
    """The draft waits for somebody's approval."""

    code = "held_for_review"


class NotHeld(Conflict):
    """The draft waits for nobody."""

    code = "not_held"


class NotUncollectible(Conflict):
    """Only open invoices are given up."""

    code = "not_uncollectible"


class CreditSpent(Conflict):
    """The grant has been used up, has expired or was withdrawn."""

    code = "credit_spent"


class UnknownGrant(NotFound):
    """No credit grant has this id."""

    code = "unknown_grant"


class NotCreditable(DomainError):
    """More than is left of the invoice or the line, or an invoice that takes no credit note."""

    code = "not_creditable"


class NotReversible(Conflict):
    """What the payment brought is used already: paid back, credited, or spent as credit."""

    code = "not_reversible"


class UnknownCreditNote(NotFound):
    """No credit note has this number or id."""

    code = "unknown_credit_note"


class UnknownCharge(NotFound):
    """No charge has this id."""

    code = "unknown_charge"


class ChargeBilled(Conflict):
    """The charge stands on an invoice already."""

    code = "charge_billed"


class UnknownLine(NotFound):
    """No final invoice has a line with this id."""

    code = "unknown_line"


class UnknownCorrection(NotFound):
    """No correction has this id."""

    code = "unknown_correction"


class CorrectionDecided(Conflict):
    """The correction waits for nobody's decision."""

    code = "correction_decided"


class QuoteMoved(Conflict):
    """What was quoted is not what it would be now; ask for a new quote."""

    code = "quote_moved"


class QuoteExpired(Conflict):
    """The quote is too old to be confirmed."""

    code = "quote_expired"
