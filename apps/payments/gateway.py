"""The only way to the payment provider: what may be asked, in its pinned version, and its errors.

Stripe's client is used for transport, form encoding and errors; what comes back is the plain JSON
of the answer, because that is what is stored, projected and mirrored, and because importing
dj-stripe changes what the client's own objects can do. Nothing here runs inside a transaction: the
provider's seconds must not be ours under a lock.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any
from urllib.parse import quote

import stripe
from django.conf import settings
from django.core.cache import cache as shared
from django.db import connection

from apps.payments.errors import (
    KeyReused,
    NotConfigured,
    ProviderBusy,
    ProviderDown,
    ProviderError,
    ProviderRefused,
    UnknownThere,
)
from apps.payments.objects import KINDS

Params = Mapping[str, Any]
Answer = dict[str, Any]

SPOKEN = str(stripe.api_version)  # the version that the installed client is made for
CONNECT_SECONDS, READ_SECONDS = 3, 10
LONGEST_WAIT = 3.0  # for the rate budget, in seconds
PAGE = 100
# For `use`: the form of a key of the provider's test mode, which opens nothing anywhere.
NO_KEY = "sk_test_" + "0" * 24


class Write(StrEnum):
    """Everything that is ever changed at the provider; the value is verb and path."""

    CREATE_CUSTOMER = "post /v1/customers"
    UPDATE_CUSTOMER = "post /v1/customers/{id}"
    CREATE_INVOICE = "post /v1/invoices"
    UPDATE_INVOICE = "post /v1/invoices/{id}"
    ADD_LINES = "post /v1/invoices/{id}/add_lines"
    FINALIZE_INVOICE = "post /v1/invoices/{id}/finalize"
    PAY_INVOICE = "post /v1/invoices/{id}/pay"
    VOID_INVOICE = "post /v1/invoices/{id}/void"
    FORGO_INVOICE = "post /v1/invoices/{id}/mark_uncollectible"
    DELETE_INVOICE = "delete /v1/invoices/{id}"
    CREATE_INVOICE_ITEM = "post /v1/invoiceitems"
    DELETE_INVOICE_ITEM = "delete /v1/invoiceitems/{id}"
    ATTACH_METHOD = "post /v1/payment_methods/{id}/attach"
    DETACH_METHOD = "post /v1/payment_methods/{id}/detach"
    CREATE_SETUP_INTENT = "post /v1/setup_intents"
    CANCEL_SETUP_INTENT = "post /v1/setup_intents/{id}/cancel"
    CREATE_CHECKOUT = "post /v1/checkout/sessions"
    EXPIRE_CHECKOUT = "post /v1/checkout/sessions/{id}/expire"
    CREATE_PORTAL_SESSION = "post /v1/billing_portal/sessions"
    CREATE_REFUND = "post /v1/refunds"
    CREATE_CREDIT_NOTE = "post /v1/credit_notes"
    UPDATE_DISPUTE = "post /v1/disputes/{id}"
    CREATE_SUBSCRIPTION = "post /v1/subscriptions"
    UPDATE_SUBSCRIPTION = "post /v1/subscriptions/{id}"
    CANCEL_SUBSCRIPTION = "delete /v1/subscriptions/{id}"
    CREATE_PRODUCT = "post /v1/products"
    UPDATE_PRODUCT = "post /v1/products/{id}"
    CREATE_PRICE = "post /v1/prices"
    UPDATE_PRICE = "post /v1/prices/{id}"
    CREATE_COUPON = "post /v1/coupons"
    UPDATE_COUPON = "post /v1/coupons/{id}"
    CREATE_PROMOTION_CODE = "post /v1/promotion_codes"
    UPDATE_PROMOTION_CODE = "post /v1/promotion_codes/{id}"
    CREATE_TAX_RATE = "post /v1/tax_rates"

    @property
    def verb(self) -> str:
        """Return the HTTP verb."""
        return self.value.split()[0]

    def path(self, target: str = "") -> str:
        """Return the path, of the object that is acted on."""
        if ("{id}" in self.value) != bool(target):
            raise ValueError(f"{self.name} acts on {'one object' if not target else 'none'}")
        return self.value.split()[1].replace("{id}", quote(target, safe=""))

    @property
    def label(self) -> str:
        """Return what rows and keys call it, such as `create_invoice`."""
        return self.name.lower()

    @property
    def kind(self) -> str:
        """Return the kind of object that it makes or changes; empty where none can be read."""
        path = self.value.split()[1].split("/{id}")[0]
        return next((kind for kind, known in KINDS.items() if known.path == path), "")

    @property
    def creates(self) -> bool:
        """Whether it makes an object, and not changes one."""
        return "{id}" not in self.value


# --- who answers ----------------------------------------------------------------------------------
_standing_in: list[tuple[stripe.HTTPClient, str]] = []


@contextlib.contextmanager
def use(http_client: stripe.HTTPClient, *, key: str = NO_KEY) -> Iterator[None]:
    """Let another transport answer, such as a stand-in of the provider: for tests and harnesses."""
    _standing_in.append((http_client, key))
    try:
        yield
    finally:
        _standing_in.pop()


def key() -> str:
    """Return the secret key in use; empty when no provider is configured."""
    return _standing_in[-1][1] if _standing_in else str(settings.STRIPE_SECRET_KEY)


def configured() -> bool:
    """Tell whether there is a provider; without one payments are recorded by hand."""
    return bool(key())


def livemode() -> bool:
    """Tell whether real money moves."""
    return key().startswith(("sk_live_", "rk_live_"))


def require_configured() -> None:
    """Raise NotConfigured where payments are recorded by hand."""
    if not configured():
        raise NotConfigured("No payment provider is configured: set STRIPE_SECRET_KEY.")


def _client() -> stripe.StripeClient:
    require_configured()
    if _standing_in:
        http_client, secret = _standing_in[-1]
        return stripe.StripeClient(
            secret, stripe_version=settings.STRIPE_API_VERSION, http_client=http_client
        )
    return _lasting_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@cache
def _lasting_client(secret: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        secret,
        stripe_version=settings.STRIPE_API_VERSION,
        base_addresses={"api": base} if base else None,
        max_network_retries=0,  # `services.calls` repeats: it remembers across a crash
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, READ_SECONDS)),
    )


# --- asking ---------------------------------------------------------------------------------------
def write(operation: Write, *, params: Params, key: str, target: str = "") -> Answer:
    """Have the provider change something, once for each idempotency key; return its answer.

    For `services.calls`, which has written down what it is about to say. Raises ProviderDown,
    ProviderBusy, ProviderRefused, UnknownThere and KeyReused.
    """
    return _ask(operation.verb, operation.path(target), params, idempotency_key=key)


def retrieve(kind: str, identifier: str, *, expand: Sequence[str] = ()) -> Answer:
    """Return the object as it is now; what was deleted may say so. Raises UnknownThere."""
    known = KINDS[kind]
    wanted = sorted({*known.expand, *expand})
    return read(
        f"{known.path}/{quote(identifier, safe='')}", **({"expand": wanted} if wanted else {})
    )


def read(path: str, **params: Any) -> Answer:
    """Return what is at a path, such as `/v1/account` or `/v1/invoices/in_1/lines`."""
    return _ask("get", path, params)


def listing(path: str, **params: Any) -> Iterator[Answer]:
    """Yield the objects of a collection, newest first, page by page."""
    page = {"limit": PAGE, **params}
    while True:
        found = read(path, **page)
        yield from found["data"]
        if not found.get("has_more") or not found["data"]:
            return
        page["starting_after"] = found["data"][-1]["id"]


def find(kind: str, *, billing_id: str, since: int, **params: Any) -> Answer | None:
    """Return the object that was made for a row of ours, by its metadata, or None.

    `since` (Unix time) is when it was first asked for. Lists are exact at once; the provider's
    search lags behind by a minute or more.
    """
    path = KINDS[kind].path
    for one in listing(path, created={"gte": since}, **params):
        if (one.get("metadata") or {}).get("billing_id") == billing_id:
            return one
    return None


def _ask(verb: str, path: str, params: Params, **options: str) -> Answer:
    refuse_in_transaction()
    client = _client()
    _spend_budget()
    try:
        response = client.raw_request(verb, path, **params, **options)
    except stripe.StripeError as error:
        raise _our(error) from error
    answer: Answer = json.loads(response.body)
    return answer


def refuse_in_transaction() -> None:
    """Raise RuntimeError inside a transaction (but a test's own), as `atomic(durable=True)` does.

    A lock held while somebody else's server thinks stops everybody who needs the row.
    """
    blocks: list[Any] = connection.atomic_blocks
    if blocks and not blocks[-1]._from_testcase:
        raise RuntimeError("the payment provider is never called inside a transaction")


# --- how fast -------------------------------------------------------------------------------------
def _spend_budget() -> None:
    """Wait for a turn among all processes that share the cache. Raises ProviderBusy.

    Counted by the second of the real clock: the provider does not live in a test's time.
    """
    most = settings.STRIPE_REQUESTS_PER_SECOND
    give_up = time.monotonic() + LONGEST_WAIT
    while most:
        now = time.time()
        turn = f"stripe:budget:{int(now)}"
        shared.add(turn, 0, 5)
        if shared.incr(turn) <= most:
            return
        if time.monotonic() > give_up:
            raise ProviderBusy("Too much is being asked of the payment provider at once.")
        time.sleep(1 - now % 1)


# --- what went wrong ------------------------------------------------------------------------------
BUSY_CODES = {"lock_timeout", "rate_limit", "idempotency_key_in_use"}


def _our(error: stripe.StripeError) -> ProviderError:
    """Return our error for the provider's."""
    code, status = str(error.code or _said(error, "code")), error.http_status or 0
    message = str(error.user_message or "The payment provider said nothing.")
    if isinstance(error, stripe.IdempotencyError) and status != 409:
        return KeyReused(message, provider_code=code)
    if status in {409, 429} or code in BUSY_CODES:
        return ProviderBusy(message)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        # Whoever put a wrong key right wants what waited to go on.
        return ProviderDown(f"The payment provider does not know us: {message}", replayed=False)
    if isinstance(error, stripe.InvalidRequestError) and code == "resource_missing":
        return UnknownThere(message, provider_code=code, param=_said(error, "param"))
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError):
        return ProviderRefused(
            message,
            provider_code=code,
            decline_code=_said(error, "decline_code"),
            param=_said(error, "param"),
        )
    return ProviderDown(message, replayed=_header(error, "idempotent-replayed") == "true")


def _said(error: stripe.StripeError, name: str) -> str:
    """Return a field of the error's body."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said = body.get("error")
    return str(said.get(name) or "") if isinstance(said, dict) else ""


def _header(error: stripe.StripeError, name: str) -> str:
    return {k.lower(): v for k, v in (error.headers or {}).items()}.get(name, "")
