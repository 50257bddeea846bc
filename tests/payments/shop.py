"""A shop at the stand-in of the provider that has sold something: objects of most kinds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from apps.payments import gateway
from apps.payments.gateway import Answer, Write
from apps.sandbox.engine import Sandbox
from apps.sandbox.transports import SandboxClient


@dataclass(frozen=True, slots=True)
class Shop:
    """Does things at the stand-in as somebody with a browser would: behind our back."""

    sandbox: Sandbox
    _keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def do(self, operation: Write, target: str = "", **params: Any) -> Answer:
        """Change something there."""
        return gateway.write(
            operation, params=params, key=f"shop-{next(self._keys)}", target=target
        )

    def customer(self, card: str = "pm_card_visa") -> Answer:
        """Return a customer with a card."""
        customer = self.do(Write.CREATE_CUSTOMER, name="Acme", email="acme@example.com")
        method = self.do(Write.ATTACH_METHOD, card, customer=customer["id"])
        charged = {"default_payment_method": method["id"]}
        return self.do(Write.UPDATE_CUSTOMER, customer["id"], invoice_settings=charged)

    def invoice(self, customer: str, *amounts: int) -> Answer:
        """Return an open invoice of so many cents a line."""
        invoice = self.do(Write.CREATE_INVOICE, customer=customer, auto_advance=False)
        for amount in amounts:
            self.do(
                Write.CREATE_INVOICE_ITEM,
                customer=customer,
                invoice=invoice["id"],
                amount=amount,
                currency="usd",
            )
        return self.do(Write.FINALIZE_INVOICE, invoice["id"])

    def catalogue(self) -> None:
        """Offer a product with a price, a coupon with its code, and a tax."""
        product = self.do(Write.CREATE_PRODUCT, name="Desk")
        self.do(
            Write.CREATE_PRICE,
            product=product["id"],
            currency="usd",
            unit_amount=5_00,
            recurring={"interval": "month"},
        )
        coupon = self.do(Write.CREATE_COUPON, percent_off=10, duration="once")
        promotion = {"type": "coupon", "coupon": coupon["id"]}
        self.do(Write.CREATE_PROMOTION_CODE, promotion=promotion, code="LAUNCH")
        self.do(Write.CREATE_TAX_RATE, display_name="VAT", percentage=19, inclusive=False)

    def sale(self) -> Answer:
        """Sell something, take the money, and give part of it back; return the invoice."""
        customer = self.customer()
        invoice = self.invoice(customer["id"], 40_00, 10_00)
        paid = self.do(Write.PAY_INVOICE, invoice["id"])
        intent = next(gateway.listing("/v1/payment_intents"))
        self.do(Write.CREATE_REFUND, payment_intent=intent["id"], amount=1_00)
        self.do(Write.CREATE_SETUP_INTENT, customer=customer["id"])
        return paid


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop whose every request and answer keeps the contract."""
    sandbox = Sandbox(strict=True)
    with gateway.use(SandboxClient(sandbox)):
        yield Shop(sandbox)
