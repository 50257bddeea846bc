"""An invoice as a document: the shape that every door shows, the PDF prints, the hash seals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.engine.decimals import plain
from apps.engine.period import Period, iso


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `amount` is in minor units; `explanation` is its arithmetic as data."""

    id: str
    key: str
    kind: str
    reason: str
    name: str
    period: Period
    quantity: Decimal
    amount: int
    explanation: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """Return what the content hash covers."""
        return {
            "key": self.key,
            "kind": self.kind,
            "reason": self.reason,
            "name": self.name,
            "period": self.period.as_dict(),
            "quantity": plain(self.quantity),
            "amount": self.amount,
            "explanation": dict(self.explanation),
        }


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice, final, draft or upcoming. Amounts are in minor units of `currency`.

    An upcoming one has no id and no number: it is what the next boundary would bill, by the very
    same computation.
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

    def content(self) -> dict[str, Any]:
        """Return everything that never changes once the invoice is final."""
        return {
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

    def hash(self) -> str:
        """Return the SHA-256 of the content as canonical JSON."""
        text = json.dumps(self.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
