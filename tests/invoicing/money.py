"""A small world of single invoices in exact cents, where the German rate of 19 % is known."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from apps.core import rls
from apps.invoicing import credit, selectors, services
from apps.invoicing.models import CreditGrant, CreditNote, Invoice
from apps.invoicing.services import GrantTerms, NewCharge, NoteLine, Split
from apps.payments import services as payments
from apps.payments.models import Payment
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import NOW


def bill(organization: Organization, *amounts: str) -> Invoice:
    """Issue one invoice over these amounts (major units), each a line; tax comes on top."""
    with rls.tenant_scope(organization.pk):
        charges = [
            services.add_charge(
                organization.pk,
                new=NewCharge(name=f"Work {n}", unit_amount=Decimal(amount), currency="EUR"),
                actor=STAFF,
                at=NOW,
            ).public_id
            for n, amount in enumerate(amounts, 1)
        ]
        made = services.invoice_charges(charges, actor=STAFF, at=NOW)
        return selectors.get(made.public_id)


def again(row: Invoice) -> Invoice:
    """Return the invoice as it stands now."""
    with rls.tenant_scope(row.organization_id):
        return selectors.get(row.public_id)


def pay(row: Invoice, amount: str, *, keep_excess: bool = False) -> Payment:
    """Record a payment."""
    with rls.tenant_scope(row.organization_id):
        return payments.record_payment(
            row.public_id, amount=Decimal(amount), keep_excess=keep_excess, actor=STAFF, at=NOW
        )


def note(
    row: Invoice,
    *lines: NoteLine,
    total: str = "",
    split: Split | None = None,
    reason: str = "other",
) -> CreditNote:
    """Issue a credit note and return it as it is stored."""
    with rls.tenant_scope(row.organization_id):
        made = services.issue_credit_note(
            row.public_id,
            lines=lines,
            total=Decimal(total) if total else None,
            split=split,
            reason=reason,
            actor=STAFF,
            at=NOW,
        )
        return credit.get_credit_note(made.public_id)


def line(row: Invoice, position: int = 1, amount: str = "", quantity: str = "") -> NoteLine:
    """Name a line of the invoice, and what of it."""
    with rls.tenant_scope(row.organization_id):
        found = row.lines.get(position=position)
    return NoteLine(
        line=found.public_id,
        amount=Decimal(amount) if amount else None,
        quantity=Decimal(quantity) if quantity else None,
    )


def grant(
    organization: Organization, amount: str, *, terms: GrantTerms | None = None, **options: str
) -> CreditGrant:
    """Grant credit in EUR."""
    with rls.tenant_scope(organization.pk):
        return services.grant_credit(
            organization.pk,
            amount=Decimal(amount),
            currency="EUR",
            terms=terms,
            actor=STAFF,
            at=NOW,
            **options,
        )


def left(organization: Organization) -> int:
    """Return what credit the organization has in EUR, in cents."""
    with rls.tenant_scope(organization.pk):
        return sum(found.available for found in credit.credit_of(organization.pk, at=NOW))


def balances(organization: Organization) -> dict[str, int]:
    """Return the ledger's balances in EUR that are not zero; revenue with what is deferred."""
    with rls.tenant_scope(organization.pk):
        rows = selectors.balances(organization.pk)
    found: Counter[str] = Counter()
    for (account, _), amount in rows.items():
        found["revenue" if account == "deferred_revenue" else account] += amount
    return {account: amount for account, amount in found.items() if amount}
