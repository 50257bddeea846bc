"""The one account of the sandbox. There are no connected ones."""

from __future__ import annotations

from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

ACCOUNT_ID = "acct_1SandboxCountinghouse"
NAME = "Simulated Stripe"


def open_account(world: World) -> Body:
    """Make the account, unless it is there."""
    known = world.look(ACCOUNT_ID)
    if known is not None:
        return known
    return world.new(
        "account",
        id=ACCOUNT_ID,
        business_profile=None,
        capabilities={"card_payments": "active", "transfers": "active"},
        charges_enabled=True,
        controller={"type": "account"},
        country="US",
        created=world.now,
        default_currency="usd",
        details_submitted=True,
        email="owner@example.com",
        external_accounts=listing([], f"/v1/accounts/{ACCOUNT_ID}/external_accounts"),
        future_requirements=None,
        payouts_enabled=True,
        requirements=None,
        settings=None,
        tos_acceptance=None,
        type="standard",
    )


@operation("GET /v1/account")
def retrieve_account(world: World, _params: Params) -> Body:
    """Return the account that the key belongs to."""
    return world.get("account", ACCOUNT_ID)


@operation("GET /v1/accounts/{account}")
def retrieve_account_by_id(world: World, _params: Params, account: str) -> Body:
    """Return the account; there is no other."""
    return world.get("account", account)


@operation("GET /v1/accounts")
def list_accounts(_world: World, params: Params) -> Body:
    """Return the connected accounts: none."""
    params.take("created", "limit", "starting_after", "ending_before")
    return listing([], "/v1/accounts")


@operation("GET /v1/balance")
def retrieve_balance(world: World, _params: Params) -> Body:
    """Return what the account holds: charges less refunds, by currency; no fees, no payouts."""
    held: dict[str, int] = {}
    for charge in world.find("charge", status="succeeded"):
        amount = charge["amount_captured"] - charge["amount_refunded"]
        held[charge["currency"]] = held.get(charge["currency"], 0) + amount
    funds = [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}}
        for currency, amount in sorted(held.items())
    ]
    return {"object": "balance", "available": funds, "livemode": False, "pending": []}
