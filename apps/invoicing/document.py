"""An invoice as a document: the shape that every door shows, the PDF prints, the hash seals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from apps.engine.decimals import plain
from apps.engine.period import Period, iso
from apps.engine.values import value_class

INVOICE = "invoice"
ONE_OFF = "one_off"
CREDIT_NOTE = "credit_note"
CHARGED = ("standard", "taxed")


@value_class(frozen=True, slots=True)
class Deduction:
    """What one discount took off, or one credit paid: minor units, as a positive number."""

    name: str
    amount: int

    def content(self) -> dict[str, Any]:
        """Return what the content hash covers."""
        return {"name": self.name, "amount": self.amount}


@value_class(frozen=True, slots=True)
class Tax:
    """One tax on one line, or on the whole document. `base` and `amount` are in minor units.

    `treatment` is standard (the engine's taxed), exempt, reverse_charge, export, outside_scope, or
    none where the issuer collects no tax; a line without rates bears one tax at rate zero that says
    which. `ground` is why: a VATEX code or words. `kind` is vat, sales or gst. `base` is net of the
    tax and of discounts. `inclusive` says that the lines' amounts contain the tax.
    """

    name: str
    percent: Decimal
    base: int
    amount: int
    jurisdiction: str = ""
    treatment: str = "standard"
    inclusive: bool = False
    kind: str = "vat"
    ground: str = ""

    @property
    def is_charged(self) -> bool:
        """Whether it is added at its rate, be that zero."""
        return self.treatment in CHARGED

    @property
    def charged_percent(self) -> Decimal:
        """The percent as charged: nothing of a rate that is only named."""
        return self.percent if self.is_charged else Decimal(0)

    def content(self) -> dict[str, Any]:
        """Return what the content hash covers."""
        return {
            "name": self.name,
            "percent": plain(self.percent),
            "base": self.base,
            "amount": self.amount,
            "jurisdiction": self.jurisdiction,
            "treatment": self.treatment,
            "inclusive": self.inclusive,
            "kind": self.kind,
            "ground": self.ground,
        }


@dataclass(frozen=True, slots=True)
class Corrects:
    """The invoice that a credit note corrects."""

    number: str
    issued_at: datetime

    def content(self) -> dict[str, Any]:
        """Return what the content hash covers."""
        return {"number": self.number, "issued_at": iso(self.issued_at)}


@value_class(frozen=True, slots=True)
class Line:
    """One line. `amount` is in minor units; `explanation` is its arithmetic as data.

    `amount` is before discounts; `discount` is this line's part of all of them. `tax_rates` are
    the taxes on this line alone. `unit` is what one of the quantity is called.
    """

    id: str
    key: str
    kind: str
    reason: str
    name: str
    period: Period
    quantity: Decimal
    amount: int
    explanation: Mapping[str, Any]
    discount: int = 0
    tax_rates: tuple[Tax, ...] = ()
    unit: str = ""

    def content(self) -> dict[str, Any]:
        """Return what the content hash covers; the unit stands in the explanation."""
        said: dict[str, Any] = {
            "key": self.key,
            "kind": self.kind,
            "reason": self.reason,
            "name": self.name,
            "period": self.period.as_dict(),
            "quantity": plain(self.quantity),
            "amount": self.amount,
            "explanation": dict(self.explanation),
        }
        taxes = [tax.content() for tax in self.tax_rates]
        return said | _where_said({"discount": self.discount, "tax_rates": taxes})


@value_class(frozen=True, slots=True)
class Document:
    """An invoice, final, draft or upcoming. Amounts are in minor units of `currency`.

    An upcoming one has no id and no number: it is what the next boundary would bill, by the very
    same computation.

    total = subtotal − discount + the taxes that are not inclusive − credits_total. A credit note's
    amounts are positive: what the customer gets back. `tax` is the sum of all taxes,
    `credited` what credit notes took off since the document was issued.
    """

    id: str
    number: str | None
    status: str
    organization_id: int
    subscription_id: str | None
    currency: str
    subtotal: int
    total: int
    amount_paid: int
    amount_due: int
    period: Period
    issued_at: datetime
    due_at: datetime
    timezone: str
    locale: str
    parties: Mapping[str, Any]
    lines: tuple[Line, ...]
    content_hash: str = ""
    finalized_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    void_reason: str = ""
    kind: str = INVOICE
    discount: int = 0
    tax: int = 0
    credits_total: int = 0
    credited: int = 0
    discounts: tuple[Deduction, ...] = ()
    taxes: tuple[Tax, ...] = ()
    credits: tuple[Deduction, ...] = ()
    corrects: Corrects | None = None
    note: str = ""

    def content(self) -> dict[str, Any]:
        """Return everything that never changes once the invoice is final."""
        said: dict[str, Any] = {
            "number": self.number,
            "organization": self.organization_id,
            "subscription": self.subscription_id,
            "currency": self.currency,
            "subtotal": self.subtotal,
            "total": self.total,
            "period": self.period.as_dict(),
            "issued_at": iso(self.issued_at),
            "due_at": iso(self.due_at),
            "timezone": self.timezone,
            "parties": dict(self.parties),
            "lines": [{"id": line.id, **line.content()} for line in self.lines],
        }
        return said | _where_said(self._beyond_lines())

    def _beyond_lines(self) -> dict[str, Any]:
        return {
            "kind": "" if self.kind == INVOICE else self.kind,
            "discount": self.discount,
            "tax": self.tax,
            "credits_total": self.credits_total,
            "discounts": [discount.content() for discount in self.discounts],
            "taxes": [tax.content() for tax in self.taxes],
            "credits": [credit.content() for credit in self.credits],
            "corrects": self.corrects and self.corrects.content(),
            "note": self.note,
        }

    def hash(self) -> str:
        """Return the SHA-256 of the content as canonical JSON."""
        # The bytes of json.dumps with sorted keys, without spaces, every character as it is.
        text = msgspec.json.encode(self.content(), order="sorted")
        return hashlib.sha256(text).hexdigest()


def _where_said(said: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, so that a document from before these fields keeps its hash."""
    return {name: value for name, value in said.items() if value}
