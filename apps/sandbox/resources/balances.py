"""What customers have with us: negative is credit for later invoices, positive is owed."""

from __future__ import annotations

from apps.sandbox.errors import missing
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

ALL = "/v1/customers/{customer}/balance_transactions"


def move(
    world: World, customer: Body, amount: int, kind: str, *, currency: str, **belongs: str
) -> Body | None:
    """Change a customer's balance and write down why; nothing moves for nought."""
    if amount == 0:
        return None
    world.change(customer, "customer.updated", balance=customer["balance"] + amount)
    return world.new(
        "customer_balance_transaction",
        amount=amount,
        currency=currency,
        customer=customer["id"],
        ending_balance=customer["balance"],
        type=kind,
        **belongs,
    )


@operation(f"POST {ALL}")
def create(world: World, params: Params, identity: str) -> Body:
    """Adjust a customer's balance by hand."""
    customer = world.get("customer", identity)
    currency = str(params["currency"]).lower()
    made = move(world, customer, params["amount"], "adjustment", currency=currency)
    if made is None:
        made = world.new(
            "customer_balance_transaction",
            amount=0,
            currency=currency,
            customer=identity,
            ending_balance=customer["balance"],
            type="adjustment",
        )
    return set_fields(made, params, "description", "metadata")


@operation(f"GET {ALL}")
def list_all(world: World, params: Params, identity: str) -> Body:
    """Return how a customer's balance moved."""
    world.get("customer", identity)
    invoice = params.get("invoice")
    params.take("created", "limit", "starting_after", "ending_before")
    url = f"/v1/customers/{identity}/balance_transactions"
    kind = "customer_balance_transaction"
    return world.page(kind, url, params, customer=identity, invoice=invoice)


@operation(f"GET {ALL}/{{transaction}}")
def retrieve(world: World, _params: Params, identity: str, transaction: str) -> Body:
    """Return one movement."""
    found = world.get("customer_balance_transaction", transaction)
    if found["customer"] != identity:
        raise missing("customer_balance_transaction", transaction)
    return found
