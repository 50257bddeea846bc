"""What Stripe's objects mean for our rows: its JSON in, plain values out, nothing asked or written.

Field names follow API version 2026-08-26: an invoice's payments hang in a list of their own, and
amounts are in Stripe's minor units until `from_provider` has read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apps.payments.declines import decline_class
from apps.payments.events import DeclineClass

Json = Mapping[str, Any]
BILLING_ID = "billing_id"  # the metadata of ours on every object that we make


@dataclass(frozen=True, slots=True)
class SeenPayment:
    """A payment of an invoice: its payment intent, or the payment's own id without one."""

    reference: str
    amount: int


@dataclass(frozen=True, slots=True)
class SeenInvoice:
    """An invoice at the provider. `billing_id` is our collection's, empty for a foreign one.

    `payments` are those that succeeded; what was paid outside of the provider is none.
    """

    id: str
    billing_id: str
    status: str
    currency: str
    total: int
    due: int
    hosted_url: str
    intent: str
    payments: tuple[SeenPayment, ...]


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a charge failed."""

    code: str
    kind: DeclineClass
    message: str


@dataclass(frozen=True, slots=True)
class SeenIntent:
    """A payment intent: where a charge stands. `confirm_url` is where the customer confirms it."""

    id: str
    status: str
    amount: int
    currency: str
    method: str
    declined: Declined | None
    confirm_url: str


@dataclass(frozen=True, slots=True)
class SeenMethod:
    """A payment method. `customer` is empty once it is detached."""

    id: str
    customer: str
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None


@dataclass(frozen=True, slots=True)
class SeenCheckout:
    """A checkout session. `method` is what it saved, once its setup intent is expanded."""

    id: str
    billing_id: str
    status: str
    paid: bool
    customer: str
    method: str
    intent: str
    amount: int
    currency: str
    url: str


@dataclass(frozen=True, slots=True)
class SeenRefund:
    """A refund and what became of it."""

    id: str
    billing_id: str
    status: str
    amount: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True)
class SeenDispute:
    """A dispute about the payment of this intent."""

    id: str
    intent: str
    status: str
    amount: int
    currency: str
    reason: str
    evidence_due: datetime | None
    opened: datetime


def see_invoice(told: Json) -> SeenInvoice:
    """Read an invoice; its payments have to be expanded."""
    payments = _listed(told.get("payments"))
    default: Json = next((one for one in payments if one.get("is_default")), {})
    return SeenInvoice(
        id=told["id"],
        billing_id=_billing_id(told),
        status=told.get("status") or "",
        currency=told["currency"],
        total=told["total"],
        due=told["amount_due"],
        hosted_url=told.get("hosted_invoice_url") or "",
        intent=_id(default.get("payment", {}).get("payment_intent")),
        payments=tuple(
            SeenPayment(_id(one["payment"].get("payment_intent")) or one["id"], one["amount_paid"])
            for one in payments
            if one["status"] == "paid" and one["payment"].get("type") != "payment_record"
        ),
    )


def see_intent(told: Json) -> SeenIntent:
    """Read a payment intent."""
    error = told.get("last_payment_error") or {}
    action = told.get("next_action") or {}
    return SeenIntent(
        id=told["id"],
        status=told["status"],
        amount=told["amount"],
        currency=told["currency"],
        method=_id(told.get("payment_method")) or _id(error.get("payment_method")),
        declined=see_decline(error) if error else None,
        confirm_url=(action.get("redirect_to_url") or {}).get("url") or "",
    )


def see_decline(error: Json) -> Declined:
    """Read why a charge failed, from an error or from an intent's last one."""
    code = error.get("decline_code") or error.get("code") or ""
    kind = decline_class(code, error.get("advice_code") or "")
    return Declined(code[:60], kind, (error.get("message") or "")[:500])


def see_method(told: Json) -> SeenMethod:
    """Read a payment method of any kind."""
    kind = told["type"]
    about = told.get(kind) or {}
    return SeenMethod(
        id=told["id"],
        customer=_id(told.get("customer")),
        kind=kind,
        brand=(about.get("display_brand") or about.get("brand") or about.get("bank_name") or "")[
            :40
        ],
        last4=(about.get("last4") or "")[:4],
        exp_month=about.get("exp_month"),
        exp_year=about.get("exp_year"),
    )


def see_checkout(told: Json) -> SeenCheckout:
    """Read a checkout session; its setup and payment intent may be expanded."""
    setup, intent = told.get("setup_intent") or {}, told.get("payment_intent") or ""
    inner = setup if isinstance(setup, Mapping) else {}
    return SeenCheckout(
        id=told["id"],
        billing_id=_billing_id(told) or told.get("client_reference_id") or "",
        status=told.get("status") or "",
        paid=told.get("payment_status") == "paid",
        customer=_id(told.get("customer")),
        method=_id(inner.get("payment_method")),
        intent=_id(intent),
        amount=told.get("amount_total") or 0,
        currency=told.get("currency") or "",
        url=told.get("url") or "",
    )


def see_refund(told: Json) -> SeenRefund:
    """Read a refund."""
    return SeenRefund(
        id=told["id"],
        billing_id=_billing_id(told),
        status=told.get("status") or "",
        amount=told["amount"],
        currency=told["currency"],
        reason=told.get("failure_reason") or "",
    )


def see_dispute(told: Json) -> SeenDispute:
    """Read a dispute."""
    due = (told.get("evidence_details") or {}).get("due_by")
    return SeenDispute(
        id=told["id"],
        intent=_id(told.get("payment_intent")),
        status=told["status"],
        amount=told["amount"],
        currency=told["currency"],
        reason=told["reason"],
        evidence_due=_instant(due) if due else None,
        opened=_instant(told["created"]),
    )


def _billing_id(told: Json) -> str:
    return str((told.get("metadata") or {}).get(BILLING_ID, ""))


def _id(reference: Any) -> str:
    """Return the id of what is named or expanded, or nothing."""
    if isinstance(reference, Mapping):
        return str(reference["id"])
    return str(reference or "")


def _listed(of: Json | None) -> list[Any]:
    return list((of or {}).get("data") or ())


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
