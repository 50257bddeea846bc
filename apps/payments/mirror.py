"""dj-stripe's tables: a copy of the provider's objects for staff to look at, and nothing else.

They are filled from JSON that the inbox has read. dj-stripe itself would ask the provider for what
an object refers to, in the middle of a transaction and with the real key, which it then stores in
clear: so here it meets a transport that answers from a shelf alone, and a key that opens nothing.
What is missing on the shelf is fetched outside the transaction, and the copy made once more.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import stripe
from django.db import transaction
from djstripe import models

from apps.payments import gateway
from apps.payments.errors import ProviderRefused
from apps.payments.objects import Json

log = logging.getLogger(__name__)

# What an object refers to, by path; None: the provider has no such thing.
Shelf = dict[str, Json | None]

MODELS: Mapping[str, Any] = {
    "charge": models.Charge,
    "checkout.session": models.Session,
    "coupon": models.Coupon,
    "customer": models.Customer,
    "dispute": models.Dispute,
    "invoice": models.Invoice,
    "invoiceitem": models.InvoiceItem,
    "payment_intent": models.PaymentIntent,
    "payment_method": models.PaymentMethod,
    "price": models.Price,
    "product": models.Product,
    "promotion_code": models.PromotionCode,
    "refund": models.Refund,
    "setup_intent": models.SetupIntent,
    "subscription": models.Subscription,
    "subscription_schedule": models.SubscriptionSchedule,
    "tax_rate": models.TaxRate,
}
# Asked for with every object of the kind, and of no use here.
UNWANTED = ("/features", "/sources")
NOTHING = {"object": "list", "data": [], "has_more": False, "url": ""}
ABSENT = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No."}}

_shelf: ContextVar[Shelf | None] = ContextVar("mirror_shelf", default=None)


class Missing(Exception):
    """The copy needs another object; `fetch` reads it, outside of any transaction."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def fetch(self) -> Json | None:
        """Return the object, or None where there is none."""
        try:
            return gateway.read(self.path)
        except ProviderRefused:
            return None


class _Transport(stripe.HTTPClient):
    """Answers dj-stripe from the shelf, and never from the network."""

    name = "shelf"

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Return what is on the shelf. Raises Missing for what is not, PermissionError outside."""
        path, shelf = urlsplit(url).path, _shelf.get()
        if shelf is None or method.lower() != "get":
            raise PermissionError("dj-stripe never speaks to the provider itself")
        if path.endswith(UNWANTED):
            return json.dumps(NOTHING), 200, {}
        if path not in shelf:
            raise Missing(path)
        found = shelf[path]
        return json.dumps(found or ABSENT), 200 if found else 404, {}

    def close(self) -> None:
        """Hold nothing open."""


TRANSPORT = _Transport()
stripe.default_http_client = TRANSPORT


@contextmanager
def _answering_from(shelf: Shelf) -> Iterator[None]:
    token = _shelf.set(shelf)
    try:
        yield
    finally:
        _shelf.reset(token)


def keep(found: Json, *, related: Shelf) -> str:
    """Copy an object into dj-stripe's tables; return what went wrong with it, usually nothing.

    In the caller's transaction, which stays good. Raises Missing.
    """
    model = MODELS.get(found["object"])
    if model is None:
        return ""
    try:
        with transaction.atomic(), _answering_from(related):
            if found.get("deleted"):
                _mark_deleted(model, found)
            else:
                model.sync_from_stripe_data(_dressed(found), api_key=_key(found))
    except Missing:
        raise
    except Exception as error:
        log.warning("mirror_failed", extra={"object": found["id"]}, exc_info=error)
        return f"mirror: {type(error).__name__}: {error}"[:2000]
    return ""


class _Page(dict[str, Any]):
    """A list as the provider writes it, which dj-stripe walks as an object of the client's."""

    def auto_paging_iter(self) -> Iterator[Any]:
        """Yield what is on the page."""
        return iter(self["data"])

    def __iter__(self) -> Iterator[Any]:
        return iter(self["data"])


class _Lines(_Page):
    """An invoice's lines: dj-stripe would make rows of them once, and never change those."""

    def auto_paging_iter(self) -> Iterator[Any]:
        """Yield nothing: the lines are in the invoice's JSON."""
        return iter(())


def _dressed(found: Json) -> dict[str, Any]:
    """Return a copy that dj-stripe can read and write to; discounts are more than ids to it."""
    copied: dict[str, Any] = copy.deepcopy(dict(found))
    if isinstance(items := copied.get("items"), dict):
        copied["items"] = _Page(items)
    if isinstance(lines := copied.get("lines"), dict):
        copied["lines"] = _Lines(lines)
    if isinstance(discounts := copied.get("discounts"), list):
        copied["discounts"] = [one for one in discounts if isinstance(one, dict)]
    return copied


def _mark_deleted(model: Any, found: Json) -> None:
    for row in model.objects.filter(id=found["id"]):
        row.stripe_data = {**row.stripe_data, "deleted": True}
        row.save(update_fields=["stripe_data", "djstripe_updated"])


def _key(found: Json) -> str:
    """Return a key of the object's mode, by which dj-stripe tells the account; it opens nothing."""
    mode = "live" if found.get("livemode") else "test"
    return f"sk_{mode}_{'mirror':0<24}"


def endpoint_secret(endpoint: str) -> str:
    """Return the signing secret of an endpoint that dj-stripe made, by its uuid; empty if none."""
    rows = models.WebhookEndpoint.objects.filter(djstripe_uuid=endpoint)
    return str(rows.values_list("secret", flat=True).first() or "")
