"""What the commands about credit share: terms as arguments, grants and notes as JSON."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import comma_separated, instant
from apps.engine.period import iso
from apps.invoicing.models import CreditGrant, CreditNote
from apps.invoicing.services import GrantTerms


def add_terms(parser: CommandParser) -> None:
    """Add how credit may be used."""
    parser.add_argument("--name", default="", help="as invoices say it")
    parser.add_argument("--priority", type=int, default=50, help="0 to 100; the lowest pays first")
    parser.add_argument("--expires", type=instant, help="the first instant too late")
    parser.add_argument("--kinds", type=comma_separated, default=[], metavar="A,B")
    parser.add_argument("--prices", type=comma_separated, default=[], metavar="A,B")


def terms_of(options: dict[str, Any]) -> GrantTerms:
    """Return what was said of it."""
    return GrantTerms(
        name=options["name"],
        priority=options["priority"],
        expires_at=options["expires"],
        line_kinds=options["kinds"],
        price_keys=options["prices"],
    )


def grant_json(row: CreditGrant) -> dict[str, Any]:
    """Return a grant as JSON values; amounts are whole minor units of `currency`."""
    return {
        "id": row.public_id,
        "kind": row.kind,
        "name": row.name,
        "currency": row.currency,
        "amount": row.amount,
        "remaining": row.remaining,
        "priority": row.priority,
        "expires_at": None if row.expires_at is None else iso(row.expires_at),
        "line_kinds": row.line_kinds,
        "price_keys": row.price_keys,
        "source": row.source,
        "voided_at": None if row.voided_at is None else iso(row.voided_at),
    }


def note_json(row: CreditNote) -> dict[str, Any]:
    """Return a credit note as JSON values; amounts are whole minor units of `currency`."""
    return {
        "id": row.public_id,
        "number": row.number,
        "invoice": row.invoice.number,
        "reason": row.reason,
        "memo": row.memo,
        "currency": row.currency,
        "subtotal": row.subtotal,
        "tax": row.tax,
        "total": row.total,
        "offset": row.offset_amount,
        "credit": row.credited_amount,
        "refund": row.refunded_amount,
        "issued_at": iso(row.issued_at),
        "lines": [
            {"line": one.line.public_id, "name": one.name, "amount": one.amount, "tax": one.tax}
            for one in row.lines.all()
        ],
        "content_hash": row.content_hash,
    }
