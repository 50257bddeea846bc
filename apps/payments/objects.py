"""The provider's kinds of objects: where they are read, and which function of ours wants to know.

A room's function that takes over what an object says registers with `@follows("invoice")`. It gets
the object as plain JSON, as it is now and not as some event saw it, inside the transaction that
marks the events handled. It may be called twice with the same object, and with `"deleted": true`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Json = Mapping[str, Any]
Follower = Callable[..., None]
F = TypeVar("F", bound=Follower)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: the path of its collection, and what its reading has to include."""

    path: str
    expand: tuple[str, ...] = ()


# By the `object` that the JSON names; see https://docs.stripe.com/api.
KINDS: dict[str, Kind] = {
    "charge": Kind("/v1/charges"),
    "checkout.session": Kind("/v1/checkout/sessions", ("setup_intent.payment_method",)),
    "coupon": Kind("/v1/coupons", ("applies_to",)),
    "credit_note": Kind("/v1/credit_notes"),
    "customer": Kind("/v1/customers"),
    "dispute": Kind("/v1/disputes"),
    "invoice": Kind("/v1/invoices", ("payments",)),
    "invoice_payment": Kind("/v1/invoice_payments"),
    "invoiceitem": Kind("/v1/invoiceitems"),
    "payment_intent": Kind("/v1/payment_intents", ("latest_charge",)),
    "payment_method": Kind("/v1/payment_methods"),
    "price": Kind("/v1/prices", ("tiers",)),
    "product": Kind("/v1/products"),
    "promotion_code": Kind("/v1/promotion_codes"),
    "refund": Kind("/v1/refunds"),
    "setup_intent": Kind("/v1/setup_intents"),
    "subscription": Kind("/v1/subscriptions"),
    "subscription_schedule": Kind("/v1/subscription_schedules"),
    "tax_rate": Kind("/v1/tax_rates"),
}

_followers: dict[str, list[Follower]] = {}


def follows(*kinds: str) -> Callable[[F], F]:
    """Call the decorated function, `(object, *, at)`, when an object of these kinds changed."""

    def register(follower: F) -> F:
        for kind in kinds:
            if kind not in KINDS:
                raise LookupError(f"the provider has no '{kind}' that we know how to read")
            _followers.setdefault(kind, []).append(follower)
        return follower

    return register


def followers(kind: str) -> Sequence[Follower]:
    """Return who wants to know about objects of this kind."""
    return _followers.get(kind, ())
