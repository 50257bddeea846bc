"""Short words for what tests of the sandbox set up again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stripe

from apps.sandbox.control import control
from apps.sandbox.engine import Sandbox

KEY = "sk_test_sandbox0123456789abcdefghij"


@dataclass(frozen=True)
class Shop:
    """A seller with an account at the sandbox."""

    client: stripe.StripeClient
    sandbox: Sandbox

    def customer(self, card: str | None = "pm_card_visa", **params: Any) -> stripe.Customer:
        """Return a customer whose default payment method is this test card."""
        wanted: Any = {"email": "ada@example.com", **params}
        customer = self.client.v1.customers.create(wanted)
        if card is None:
            return customer
        method = self.client.v1.payment_methods.attach(card, {"customer": customer.id})
        settings: Any = {"invoice_settings": {"default_payment_method": method.id}}
        return self.client.v1.customers.update(customer.id, settings)

    def draft(self, customer: stripe.Customer, *amounts: int, **params: Any) -> stripe.Invoice:
        """Return a draft with amount-only lines, as payments pushes them."""
        wanted: Any = {"customer": customer.id, "currency": "usd", "auto_advance": False, **params}
        invoice = self.client.v1.invoices.create(wanted)
        for amount in amounts:
            item: Any = {"customer": customer.id, "invoice": invoice.id, "currency": "usd"}
            item["amount"] = amount
            self.client.v1.invoice_items.create(item)
        return self.client.v1.invoices.retrieve(str(invoice.id))

    def final(self, customer: stripe.Customer, *amounts: int, **params: Any) -> stripe.Invoice:
        """Return an open invoice."""
        draft = self.draft(customer, *amounts, **params)
        return self.client.v1.invoices.finalize_invoice(str(draft.id))

    def told(self, *, of: str | None = None) -> list[str]:
        """Return the names of all events so far, the oldest first, or those of one object."""
        events = list(self.client.v1.events.list({"limit": 100}).auto_paging_iter())
        wanted = [each for each in events if of is None or each.data.object["id"] == of]
        return [each.type for each in reversed(wanted)]

    def behave_like(self, card: str, number: str) -> None:
        """Make a saved card answer like a test card."""
        control(self.sandbox, "POST", "cards", {"payment_method": card, "number": number})

    def authenticate(self, intent: str, *, passed: bool = True) -> None:
        """Do the customer's part of 3-D Secure."""
        control(self.sandbox, "POST", "authenticate", {"intent": intent, "passed": passed})
