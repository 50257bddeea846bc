"""The ledger: balanced movements in one currency each."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, TenantForeignKey
from apps.core.models import PartRow, TenantRow


class LedgerTransaction(TenantRow):
    """One balanced movement in the ledger, caused by one thing, once."""

    public_id = PublicIdField("ltx")
    currency = CurrencyField()
    source = models.CharField(max_length=60, help_text="public id of the cause")
    kind = models.CharField(max_length=20)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "source", "kind"], name="a_cause_is_booked_once"
            ),
            models.UniqueConstraint(
                fields=["organization", "id", "currency"], name="ledger_currency_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.source}"


class LedgerEntry(PartRow):
    """One side of a movement: debits are positive, credits negative."""

    class Account(models.TextChoices):
        RECEIVABLE = "receivable", "Receivable"
        CASH = "cash", "Cash"
        REVENUE = "revenue", "Revenue"
        DEFERRED_REVENUE = "deferred_revenue", "Deferred revenue"
        TAX_PAYABLE = "tax_payable", "Tax payable"
        CUSTOMER_CREDIT = "customer_credit", "Customer credit"
        PROMOTION = "promotion", "Promotional credit"
        WRITE_OFF = "write_off", "Written off"

    transaction = TenantForeignKey(LedgerTransaction, related_name="entries")
    transaction_id: int
    currency = CurrencyField()
    account = models.CharField(max_length=20, choices=Account)
    amount = MoneyField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "ledger entries"
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="an_entry_moves_money")]
        indexes = [models.Index(fields=["organization", "transaction"], name="entries_of_movement")]

    def __str__(self) -> str:
        return f"{self.account} {self.amount} {self.currency}"
